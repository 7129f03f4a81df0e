"""Piecewise tokenisation of long texts, with exactly the token ids of the whole text.

A tokenizer given megabytes holds them, and what it makes of them, in memory at once; and a text
that is to be cut at some thousand tokens need not be tokenised to its end. So a text is read in
pieces, and of each piece only the tokens are taken that nothing behind it can change:

- Normalisation (NFC) joins a character with those behind it only where these are marks, or letters
  of Hangul; pieces are cut elsewhere.
- The pre-tokenizer goes from left to right. What comes later changes at most the last two words of
  a piece, and white space at its end.
- A word longer than that is settled by two facts of byte-pair encoding. Any part of a right
  sequence of tokens is right; and a sequence is right if every two neighbours in it are. So the
  tokens up to a place are those of the whole word if, wherever its next boundary is, which is no
  farther than the longest token, what follows begins with a token that may be their neighbour.

Source of these facts: the documentation of the crate ``bpe`` (github/rust-gems), "Novel algorithm".
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer
from tokenizers.models import BPE

PIECE = 32_768
"""Characters of a piece, unless less is needed."""

# A long document is read in pieces of this many characters per token that there is room for, at
# most, so that what will be truncated anyway is not tokenised.
_CHARACTERS_PER_TOKEN = 16
_LEAST_PIECE = 4096
# Characters that are tokenised at once, unless one document has more: what the tokenizer makes of
# them is some ten times as large.
_BATCH_CHARACTERS = 2**19

# The pre-tokenizer for which the above holds: that of Qwen2 and Qwen3.
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LONG_WORD = 1024  # bytes, from which on a word is settled in its middle
_BLANK = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # White_Space
_BLANKS = re.compile(f"[{_BLANK}]*")
_ALL_BLANK = re.compile(f"[{_BLANK}]+")


class PieceEncoder:
    """Encodes a long text in pieces.

    Args:
        tokenizer: One without added tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._token_bytes: dict[int, bytes] = {}  # of the tokens met: reading all takes long
        self._words = Tokenizer(tokenizer.model)  # takes a word as the letters of its bytes
        self.can_divide = _is_qwens(tokenizer)

    def ids(self, text: str, piece: int = PIECE) -> Iterator[list[int]]:
        """Yield the token ids of a text, in order. Other threads run meanwhile.

        Args:
            text: Unicode without lone surrogates.
            piece: Characters of a piece, at least.
        """
        if not self.can_divide or len(text) <= piece:
            yield self._encoded(text)
            return
        rest, start = "", 0
        size = piece
        while start < len(text):
            stop = _safe_cut(text, start + size)
            # Not by unicodedata, whose time grows with the square of a run of unlike marks.
            rest += self._tokenizer.normalizer.normalize_str(text[start:stop])
            start = stop
            if start >= len(text):
                break
            settled, n_bytes = self._settled(rest, text, start)
            if settled:
                yield settled
                rest = rest.encode()[n_bytes:].decode()
                size = piece
            else:
                size *= 2
        if rest:
            yield self._encoded(rest)

    def first_ids(self, text: str, most: int, piece: int = PIECE) -> list[int]:
        """Return the first ``most`` token ids of a text, or all if there are fewer."""
        found: list[int] = []
        for some in self.ids(text, piece):
            found += some
            if len(found) >= most:
                return found[:most]
        return found

    def count(self, text: str) -> int:
        """Return the number of a text's tokens."""
        return sum(map(len, self.ids(text)))

    def text(self, ids: Sequence[int]) -> str:
        """Return the normalised text of token ids, without a partial last character."""
        return b"".join(map(self._bytes, ids)).decode("utf-8", "ignore")

    def _settled(self, piece: str, text: str, start: int) -> tuple[list[int], int]:
        """Return the token ids of a piece that later text cannot change, and their bytes."""
        # Not the fast form, which does not tell words.
        (encoding,) = self._tokenizer.encode_batch([piece], add_special_tokens=False)
        ids = encoding.ids
        word_ids = [-1 if word is None else word for word in encoding.word_ids]
        last = word_ids[-1]
        n_sure = next((n for n, word in enumerate(word_ids) if word >= last - 1), 0)
        n_bytes = sum(len(self._bytes(token)) for token in ids[:n_sure])
        data = piece.encode()
        if len(data) - n_bytes <= _LONG_WORD:
            return ids[:n_sure], n_bytes
        # One of the last two words is long. It begins where the last one does, unless white space
        # is at the end, of which a later newline makes one word.
        n_before = next(n for n, word in enumerate(word_ids) if word == last)
        begin = n_bytes + sum(len(self._bytes(token)) for token in ids[n_sure:n_before])
        tail = data[begin:].decode()
        if _ALL_BLANK.fullmatch(tail):
            stop = _BLANKS.match(text, start).end()  # type: ignore[union-attr]  # matches always
            has_newline = text.find("\n", start, stop) >= 0 or text.find("\r", start, stop) >= 0
            before = data[n_bytes:begin].decode()
            if has_newline and before and _ALL_BLANK.fullmatch(before):
                begin, n_before = n_bytes, n_sure
        if len(data) - begin <= _LONG_WORD:
            return ids[:n_sure], n_bytes
        inside = self._inside(data[begin:])
        if not inside:
            return ids[:n_sure], n_bytes
        return ids[:n_before] + inside, begin + sum(len(self._bytes(token)) for token in inside)

    def _inside(self, word: bytes) -> list[int]:
        """Return the token ids of an unfinished word that its continuation cannot change."""
        end = len(word) - 4  # the last character may be another word's, or joined to a mark
        (found,) = self._of_bytes([word[:end]])
        length = 0
        n_kept = 0
        kept_length = 0
        for n, token in enumerate(found):
            length += len(self._bytes(token))
            if length > end - 2 * self._longest:
                break
            if word[length] & 0xC0 != 0x80:  # a character begins there
                n_kept, kept_length = n + 1, length
        if not n_kept:
            return []
        rests = [word[kept_length:stop] for stop in range(end - self._longest + 1, end + 1)]
        firsts = {ids[0] for ids in self._of_bytes(rests)}
        last = found[n_kept - 1]
        pairs = [self._bytes(last) + self._bytes(first) for first in firsts]
        if self._of_bytes(pairs) != [[last, first] for first in firsts]:
            return []
        return found[:n_kept]

    def _of_bytes(self, words: Sequence[bytes]) -> list[list[int]]:
        letters = [word.decode("latin-1").translate(_LETTER_OF_BYTE) for word in words]
        return [
            encoding.ids
            for encoding in self._words.encode_batch_fast(letters, add_special_tokens=False)
        ]

    def _encoded(self, text: str) -> list[int]:
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return list(encoding.ids)

    def _bytes(self, index: int) -> bytes:
        found = self._token_bytes.get(index)
        if found is None:
            token: str = self._words.id_to_token(index)  # type: ignore[assignment]  # its own index
            found = token.translate(_BYTE_OF_LETTER).encode("latin-1", "replace")
            self._token_bytes[index] = found
        return found

    @functools.cached_property
    def _longest(self) -> int:
        """The bytes of the longest token; a letter stands for each."""
        return max(map(len, self._tokenizer.get_vocab(with_added_tokens=False)))


def _is_qwens(tokenizer: Tokenizer) -> bool:
    """Return whether a tokenizer splits words as Qwen's does, over NFC text, and merges by BPE."""
    model, parts = tokenizer.model, (tokenizer.normalizer, tokenizer.pre_tokenizer)
    if not isinstance(model, BPE) or model.dropout or model.ignore_merges or None in parts:
        return False
    normalizer, pre_tokenizer = (json.loads(part.__getstate__()) for part in parts)
    steps = pre_tokenizer.get("pretokenizers", [])
    return (
        normalizer == {"type": "NFC"}
        and [step["type"] for step in steps] == ["Split", "ByteLevel"]
        and steps[0]["pattern"] == {"Regex": _QWEN_WORDS}
        and (steps[0]["behavior"], steps[0]["invert"]) == ("Isolated", False)
        and not steps[1]["add_prefix_space"]
        and not steps[1]["use_regex"]
    )


def _safe_cut(text: str, stop: int) -> int:
    """Return the first position from ``stop`` on where normalisation joins no characters."""
    while stop < len(text) and _joins(text[stop]):
        stop += 1
    return min(stop, len(text))


def _joins(character: str) -> bool:
    r"""Return whether a character may join the one before: a mark, or a Hangul vowel or final."""
    category = unicodedata.category(character)
    return category in ("Mn", "Mc", "Me", "Cn") or "\u1160" <= character <= "\u11ff"


def _letters() -> list[str]:
    """Return the letter that stands for each byte, as in GPT-2's ``bytes_to_unicode``."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


_LETTER_OF_BYTE = dict(enumerate(_letters()))
_BYTE_OF_LETTER = {ord(letter): byte for byte, letter in _LETTER_OF_BYTE.items()}


def piece_for(most: int) -> int:
    """Return the characters that are read at once of a text of which so many tokens are kept."""
    return min(PIECE, max(_LEAST_PIECE, most * _CHARACTERS_PER_TOKEN))


def batches(texts: Sequence[str], longest: int) -> Iterator[list[str]]:
    """Yield batches of texts in order; a text of more than ``longest`` characters is alone."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(text) > longest or size + len(text) > _BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
        if len(text) > longest:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
