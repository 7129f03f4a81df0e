"""Encoding of prompts as token ids: exact at the prefix, cut in the document, safe from forgery.

Two tokenizers are at work. The model's own knows the control tokens and encodes only our own
literals (a form's head and suffix), once. One over the same vocabulary, without added tokens,
encodes all that a caller supplies, so that ``<|im_end|>`` inside a document is ten ordinary
characters.
(``split_special_tokens=True`` would not do: ``<think>`` and others are added tokens that are not
flagged special, and would still become control ids.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from tokenizers import AddedToken, Encoding, Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from shared_core.errors import QueryTooLongError, ScoringError, UnsupportedModelError
from shared_core.prompt import NO, YES
from shared_core.prompt.encodable import check_encodable
from shared_core.prompt.forms import TEXT_FORM, Form
from shared_core.prompt.long_text import PIECE, PieceEncoder, batches, piece_for
from shared_core.prompt.panics import panics_as

# What Qwen's tokenizer takes for a word; others differ in digits, newlines or white space.
_WORDS = (
    *("It", "'s", " ", " re", "-read", ":", " ", "2", "0", "2", "4", "\r\n\n", " the", " ﬁrst"),
    *(" Ünit", "-第", "1", "2", "章", " !\n"),
)
_LETTERS = ByteLevel.alphabet()  # which stand for the bytes of a text
_TEXT_FAILS = "the tokenizer fails on a text"
_BOUNDARY_PROBES = ("", " ", "word", "  two spaces", "\nnewline", "(punctuation)", "7", "\u0301x")


@dataclass(frozen=True, slots=True)
class EncodedDocument:
    """The tokens of one document, and whether it was cut.

    Attributes:
        ids: The document's tokens followed by the suffix's, to be put after the prefix.
        n_tokens: Tokens of the whole prompt: prefix, document and suffix.
        truncated: Whether the end of the document was cut to fit ``max_length``.
    """

    ids: list[int]
    n_tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """One encoded query; ``prefix_ids + documents[i].ids`` is the i-th whole prompt."""

    prefix_ids: list[int]
    documents: list[EncodedDocument]


class PairEncoder:
    """Encodes (instruction, query, documents) for one tokenizer. Immutable, so safe in threads.

    Args:
        tokenizer: A Hugging Face `tokenizers.Tokenizer` of the Qwen family. It is not changed; its
            vocabulary is shared.
        max_length: The most tokens a whole prompt may have.
        answers: The words that mean yes and no.
        form: The literal parts of the prompt.

    Raises:
        UnsupportedModelError: An answer is not one token; control tokens are missing; or the
            tokenizer reads text otherwise than Qwen's, or differently in pieces than whole.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        answers: tuple[str, str] = (YES, NO),
        form: Form = TEXT_FORM,
    ) -> None:
        self.answers, self.form = answers, form
        with panics_as(UnsupportedModelError, "the tokenizer fails on ordinary text"):
            self._set_up(tokenizer, max_length)

    def _set_up(self, tokenizer: Tokenizer, max_length: int) -> None:
        template = tokenizer
        if tokenizer.truncation is not None or tokenizer.padding is not None:
            template = copy.deepcopy(tokenizer)
            template.no_truncation()
            template.no_padding()
        added = tokenizer.get_added_tokens_decoder()
        control_tokens = {index: token.content for index, token in added.items()}
        self._text = _without_added_tokens(tokenizer)
        self._pieces = PieceEncoder(self._text)

        self.max_length = max_length
        self.control_ids = frozenset(control_tokens)
        self._control = control_tokens
        self.control_tokens: tuple[str, ...] = tuple(control_tokens.values())
        form = self.form
        self.suffix_ids: list[int] = template.encode(form.suffix, add_special_tokens=False).ids
        self.head_ids: list[int] = template.encode(form.head, add_special_tokens=False).ids
        # The document has a token at least, besides those of its opening.
        self._least_room = 1 + len(self.text_ids(form.opening.strip()))
        self._check_control_tokens({token.content: token for token in added.values()})
        self._check_boundary()
        self._check_words()

    def single_token_id(self, word: str) -> int:
        """Return the id of a word that must be exactly one ordinary token.

        Raises:
            UnsupportedModelError: The word is several tokens, or none.
        """
        ids = self._text.encode(word, add_special_tokens=False).ids
        if len(ids) != 1:
            raise UnsupportedModelError(
                f"the tokenizer encodes {word!r} as {len(ids)} tokens ({ids}), the score is "
                "defined only where it is one. Is this the tokenizer of a Qwen3-Reranker?"
            )
        return int(ids[0])

    def control_id(self, literal: str) -> int:
        """Return the id of a control token of the prompt's form."""
        (found,) = (i for i, token in self._control.items() if token == literal)
        return found

    @property
    def yes_id(self) -> int:
        """The vocabulary index of "yes" (9693 in Qwen3)."""
        return self.single_token_id(self.answers[0])

    @property
    def no_id(self) -> int:
        """The vocabulary index of "no" (2152 in Qwen3)."""
        return self.single_token_id(self.answers[1])

    @property
    def answer_ids(self) -> tuple[int, int]:
        """The ids of "yes" and "no"."""
        return self.yes_id, self.no_id

    @panics_as(ScoringError, _TEXT_FAILS)
    def encode(self, instruction: str, query: str, documents: Sequence[str]) -> EncodedGroup:
        """Return the token ids of one query's prompts, the shared prefix once.

        Raises:
            QueryTooLongError: No token would be left for a document.
            TextEncodingError: A text has a lone surrogate; names which text.
            ScoringError: The tokenizer fails on a text, as do `text_ids`, `first_text_ids` and
                `count`.
        """
        fields = self.form.fields(self.form.instruction(instruction), query)
        check_encodable(fields, documents)
        is_long = len(fields) > PIECE
        most = self.max_length if is_long else len(fields.encode())  # tokens have a byte at least
        prefix_ids = self.head_ids + self._pieces.first_ids(fields, most)
        room = self.room(len(prefix_ids), or_more=is_long)

        encoded = []
        for ids in self._first_ids(documents, room + 1):
            kept = ids[:room] + self.suffix_ids
            encoded.append(EncodedDocument(kept, len(prefix_ids) + len(kept), len(ids) > room))
        return EncodedGroup(prefix_ids, encoded)

    def room(self, n_prefix: int, *, or_more: bool = False) -> int:
        """Return the most tokens of an opened document after a prefix of so many.

        Raises:
            QueryTooLongError: No token is left for a document; ``or_more`` is for its message.
        """
        n_fixed = n_prefix + len(self.suffix_ids)
        if self.max_length - n_fixed < self._least_room:
            raise QueryTooLongError(n_fixed, self.max_length, or_more=or_more)
        return self.max_length - n_fixed

    @panics_as(ScoringError, _TEXT_FAILS)
    def text_ids(self, text: str) -> list[int]:
        """Return the token ids of a text, without control tokens."""
        return list(chain.from_iterable(self._pieces.ids(text)))

    @panics_as(ScoringError, _TEXT_FAILS)
    def first_text_ids(self, text: str, most: int) -> list[int]:
        """Return the first ``most`` token ids of a text, or all; what is cut is hardly read."""
        return self._pieces.first_ids(text, most, piece_for(most))

    @panics_as(ScoringError, _TEXT_FAILS)
    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text as a document, without a limit."""
        counts: list[int] = []
        for batch in batches(texts, PIECE):
            if len(batch[0]) > PIECE:
                counts.append(self._pieces.count(self.form.opening + batch[0]))
            else:
                counts += map(len, self._encoded(batch))
        return counts

    def cut(self, instruction: str, query: str, document: str) -> tuple[str, int, bool]:
        """Return a document cut to fit, the tokens of the whole prompt, and whether it was cut.

        For servers that take no token ids. Tokenised again, the end of a cut text may take a token
        more or less. What was cut is in Unicode's normal form C, as the tokenizer reads it.
        """
        (encoded,) = self.encode(instruction, query, [document]).documents
        if not encoded.truncated:
            return document, encoded.n_tokens, False
        kept = len(encoded.ids) - len(self.suffix_ids)
        return (
            self._pieces.text(encoded.ids[:kept])[len(self.form.opening) :],
            encoded.n_tokens,
            True,
        )

    def _first_ids(self, documents: Sequence[str], most: int) -> Iterator[list[int]]:
        """Yield the first token ids of each document: at least ``most``, or all."""
        piece = piece_for(most)
        for batch in batches(documents, piece):
            if len(batch[0]) > piece:
                yield self._pieces.first_ids(self.form.opening + batch[0], most, piece)
            else:
                yield from (encoding.ids for encoding in self._encoded(batch))

    def _encoded(self, documents: Sequence[str]) -> list[Encoding]:
        """Return the encodings of documents; other threads run meanwhile."""
        texts = [self.form.opening + document for document in documents]
        return self._text.encode_batch_fast(texts, add_special_tokens=False)

    def _check_control_tokens(self, control_tokens: Mapping[str, AddedToken]) -> None:
        """Raise unless the literals' control tokens are known here and impossible in user text."""
        for literal in self.form.control_tokens:
            if literal not in control_tokens:
                raise UnsupportedModelError(
                    f"the tokenizer has no control token {literal}: the Qwen3-Reranker prompt "
                    "cannot be written with it. Is this the tokenizer of a Qwen3-Reranker?"
                )
            token = control_tokens[literal]
            if token.lstrip or token.rstrip or token.single_word:
                raise UnsupportedModelError(
                    f"the tokenizer takes more or less than {literal} for this control token "
                    "(lstrip, rstrip or single_word in tokenizer.json); Qwen's takes it alone"
                )
        for literal in control_tokens:
            ids = self._text.encode(literal, add_special_tokens=False).ids
            if self.control_ids.intersection(ids):
                raise UnsupportedModelError(
                    f"the tokenizer cannot encode the text {literal!r} without its control token, "
                    "so a document could forge the end of the prompt"
                )

    def _check_boundary(self) -> None:
        """Raise if cutting the prompt in front of the opening would change its token ids."""
        fields, opening = self.form.fields("Task", "question"), self.form.opening
        fields_ids = self._text.encode(fields, add_special_tokens=False).ids
        for document in _BOUNDARY_PROBES:
            opened = opening + document
            apart = fields_ids + self._text.encode(opened, add_special_tokens=False).ids
            if self._text.encode(fields + opened, add_special_tokens=False).ids != apart:
                raise UnsupportedModelError(
                    "the tokenizer joins the fixed part of the prompt with the document "
                    f"{document!r}; a Qwen tokenizer does not. Is this a Qwen3-Reranker?"
                )

    def _check_words(self) -> None:
        """Raise if letters are lost, read otherwise, or not in the words of Qwen's tokenizer."""
        lost = [letter for letter in _LETTERS if self._text.token_to_id(letter) is None]
        if lost:
            raise UnsupportedModelError(
                f"the tokenizer would leave out parts of texts: {len(lost)} of the 256 bytes are "
                "no tokens of its vocabulary. tokenizer.json is damaged, or not Qwen's."
            )
        text = "".join(_WORDS)
        read = self._pieces.text(self._text.encode(text, add_special_tokens=False).ids)
        divider = self._text.pre_tokenizer
        spans = [] if divider is None else [span for _, span in divider.pre_tokenize_str(text)]
        words = [text[slice(*span)] for span in spans]
        if read != text or words != list(_WORDS):
            raise UnsupportedModelError(
                f"the tokenizer reads {text!r} as {read!r}, in the words {words}; Qwen's keeps "
                f"every letter and takes {list(_WORDS)} (normalizer and pre_tokenizer in "
                "tokenizer.json). Is this the tokenizer of a Qwen3-Reranker?"
            )


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer that treats control tokens as ordinary text."""
    plain = Tokenizer(tokenizer.model)
    if tokenizer.normalizer is not None:
        plain.normalizer = tokenizer.normalizer
    if tokenizer.pre_tokenizer is not None:
        plain.pre_tokenizer = tokenizer.pre_tokenizer
    return plain
