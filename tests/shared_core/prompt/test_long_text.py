"""Long text in pieces has the ids of the whole, whatever the text; and only what is needed is read.

The whole is encoded by the same tokenizer in one call, which is the definition.
"""

from __future__ import annotations

import pickle
import random
import tracemalloc
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from support.texts import ALPHABETS, random_text
from tokenizers import Tokenizer

from shared_core import QueryTooLongError
from shared_core.prompt.encoding import PairEncoder, _without_added_tokens
from shared_core.prompt.forms import TEXT_FORM
from shared_core.prompt.long_text import PieceEncoder

SMALL = 2048  # characters of a piece, so that short texts have many
KINDS = {
    **ALPHABETS,
    "one letter": "a",
    "letters": "abcdefghijklmnop",
    "spaces": " ",
    "newlines": "\n",
    "blanks": " \n\t\r\u00a0\u3000",
    "words": "abcdefgh  ",
    "spaced": "a" + " " * 60,
    "rule": "=",
    "quotes": "'stre!",
    "case": "aAbBİß",
    "hangul letters": "\u1100\u1161\u11a8",
    "marks": "e\u0301\u0323",
    "many marks": "a" + "\u0301\u0323\u0315" * 30,
    "ligatures": "ﬁ½Å①",
    "beyond 16 bits": "\U00020000\U00020001\U0001f9ff\U0001d15e",
    "zero width": "a\u200d\u200b",
}


@pytest.fixture(scope="module", params=["small_tokenizer", "real_tokenizer"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return _without_added_tokens(request.getfixturevalue(request.param).backend_tokenizer)


@pytest.fixture(scope="module")
def pieces(tokenizer: Tokenizer) -> PieceEncoder:
    encoder = PieceEncoder(tokenizer)
    assert encoder.can_divide
    return encoder


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_one_kind_of_character_are_the_whole(
    kind: str, tokenizer: Tokenizer, pieces: PieceEncoder
) -> None:
    source = random.Random(kind)
    text = "".join(source.choices(KINDS[kind], k=4 * SMALL))
    expected = whole(tokenizer, text)
    parts = list(pieces.ids(text, SMALL))
    assert [one for part in parts for one in part] == expected
    assert len(parts) > 2
    assert pieces.first_ids(text, 50, SMALL) == expected[:50]
    assert unicodedata.normalize("NFC", text).startswith(pieces.text(expected[:50]))


@pytest.mark.parametrize("end", ["", "x", "\nx", " \n", "\u0301", "'s", "!", "\r\n\n"])
def test_what_follows_a_long_run_may_change_it(
    end: str, tokenizer: Tokenizer, pieces: PieceEncoder
) -> None:
    """White space before a newline is one word with it; before a letter its last blank is not."""
    for begin in ("", "x", "!", "\n", "\n\n", "x \n"):
        for run in (" ", "\n", "\t ", "=", "a", "é"):
            text = begin + run * 5000 + end
            found = [one for part in pieces.ids(text, SMALL) for one in part]
            assert found == whole(tokenizer, text), (begin, run, end)


def test_runs_of_several_kinds_are_the_whole(tokenizer: Tokenizer, pieces: PieceEncoder) -> None:
    source = random.Random(9)
    for _ in range(25):
        text = "".join(
            "".join(source.choices(KINDS[source.choice(sorted(KINDS))], k=source.randint(1, 3000)))
            for _ in range(source.randint(1, 6))
        )
        found = [one for part in pieces.ids(text, SMALL) for one in part]
        assert found == whole(tokenizer, text)


def test_texts_of_words_are_the_whole(tokenizer: Tokenizer, pieces: PieceEncoder) -> None:
    source = random.Random(4)
    for _ in range(15):
        text = "".join(random_text(source, 60) for _ in range(30))
        assert [one for part in pieces.ids(text, SMALL) for one in part] == whole(tokenizer, text)


def test_marks_without_end_are_read_as_one_piece(
    tokenizer: Tokenizer, pieces: PieceEncoder
) -> None:
    """Their order depends on all of them, so nothing of them is sure before their end."""
    text = "a" + "\u0301\u0323" * 4000 + "b"
    assert [one for part in pieces.ids(text, SMALL) for one in part] == whole(tokenizer, text)


def test_another_pre_tokenizer_is_not_divided(small_tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers

    other = _without_added_tokens(Tokenizer.from_str(small_tokenizer.backend_tokenizer.to_str()))
    other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder = PieceEncoder(other)
    text = "a word " * 9000
    assert not encoder.can_divide
    assert list(encoder.ids(text)) == [whole(other, text)]


class Counting:
    """A tokenizer that counts the characters that it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.characters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def _counted(self, name: str) -> Callable[..., Any]:
        def call(texts: list[str], **options: Any) -> Any:
            self.characters += sum(map(len, texts))
            return getattr(self._tokenizer, name)(texts, **options)

        return call

    @property
    def encode_batch(self) -> Callable[..., Any]:
        return self._counted("encode_batch")

    @property
    def encode_batch_fast(self) -> Callable[..., Any]:
        return self._counted("encode_batch_fast")


@pytest.mark.parametrize("kind", ["letters", "spaces", "chinese", "digits", "words", "emoji"])
def test_no_more_is_read_than_the_limit_needs(kind: str, small_tokenizer: Any) -> None:
    """And no more is held: five million characters cost a few megabytes, once cut at 300 tokens."""
    encoder = PairEncoder(small_tokenizer.backend_tokenizer, 300)
    counting = Counting(encoder._text)
    encoder._text = encoder._pieces._tokenizer = counting  # type: ignore[assignment]
    source = random.Random(0)
    document = "".join(source.choices(KINDS[kind], k=50_000)) * 100
    encoder.encode("Task", "query", ["warm up " * 999])
    counting.characters = 0
    tracemalloc.start()
    (encoded,) = encoder.encode("Task", "query", [document]).documents
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (encoded.n_tokens, encoded.truncated) == (300, True)
    assert counting.characters < 300 * 36 * 3  # the longest token has 36 bytes
    assert peak < 3 * len(document.encode()) + 2**22


def test_the_number_of_tokens_is_exact_however_long(tokenizer: Tokenizer) -> None:
    encoder = PairEncoder.__new__(PairEncoder)
    encoder._text, encoder._pieces = tokenizer, PieceEncoder(tokenizer)
    encoder.form = TEXT_FORM
    source = random.Random(2)
    texts = [
        "".join(source.choices(KINDS[kind], k=n))
        for kind, n in (("words", 90_000), ("letters", 70_000), ("chinese", 10), ("spaces", 99_999))
    ]
    assert encoder.count(texts) == [len(whole(tokenizer, f" {text}")) for text in texts]


def test_a_query_beyond_the_limit_is_read_no_farther(small_tokenizer: Any) -> None:
    encoder = PairEncoder(small_tokenizer.backend_tokenizer, 300)
    with pytest.raises(QueryTooLongError, match="or more tokens") as caught:
        encoder.encode("Task", "word " * 200_000, ["document"])
    assert 300 < caught.value.prompt_tokens < 600
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own
    assert (str(copy), copy.or_more) == (str(caught.value), True)
    with pytest.raises(QueryTooLongError) as caught:
        encoder.encode("Task", "word " * 2000, ["document"])
    assert caught.value.prompt_tokens > 2000
    assert not caught.value.or_more


def test_setting_up_reads_few_tokens_of_the_vocabulary(small_tokenizer: Any) -> None:
    """All of a model's 150,000 would take longer than the rest of loading a small one."""
    encoder = PairEncoder(small_tokenizer.backend_tokenizer, 300)
    assert 0 < len(encoder._pieces._token_bytes) < 100
