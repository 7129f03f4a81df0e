"""Windows: all of a document, in order, none too long, whole sentences, with overlap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared_core.options.windows import Windows
from shared_core.prompt.encoding import PairEncoder
from shared_core.scoring import ScoreRequest
from shared_core.steps import run
from shared_core.windows.folding import TooManyWindowsError, planning
from shared_core.windows.meters import Count, CountingMeter, estimate_tokens
from shared_core.windows.sentences import Span, sentences
from shared_core.windows.windows import split_windows

SENTENCES = st.sampled_from(
    [
        "The sun is hot. ",
        "Water freezes at 0 °C! ",
        "A much longer sentence, which has several clauses, and goes on for quite a while; so. ",
        "水银在零下 39 度凝固。",
        "क्या यह सच है? ",
        "Supercalifragilisticexpialidocious" * 3,
        "1234567890" * 3,
        "👩\u200d👩\u200d👧🇩🇪" * 3,
        "\n\n",
        "def f(x):\n    return x\n",
        "   ",
        "a\u0301" * 20,
    ]
)
DOCUMENTS = st.lists(SENTENCES, min_size=1, max_size=60).map("".join) | st.text(max_size=400)


def windows(document: str, count: Count, most_tokens: int, overlap: int) -> list[Span]:
    return split_windows(
        document, count([document])[0], count, most_tokens=most_tokens, overlap=overlap
    )


@pytest.fixture(scope="module")
def encoder(small_tokenizer: Any) -> PairEncoder:
    return PairEncoder(small_tokenizer.backend_tokenizer, 8192)


def check(document: str, count: Count, most_tokens: int, overlap: int) -> list[Span]:
    spans = windows(document, count, most_tokens, overlap)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(document)
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start <= end < next_end, "a gap, or no progress"
    for (start, end), tokens in zip(
        spans, count([document[start:end] for start, end in spans]), strict=True
    ):
        assert tokens <= most_tokens or end - start == 1
    return spans


@given(DOCUMENTS, st.integers(16, 80), st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_windows_by_the_estimate(document: str, most_tokens: int, overlap: int) -> None:
    check(document, estimate_tokens, most_tokens, min(overlap, most_tokens // 2))


@given(document=DOCUMENTS, most_tokens=st.integers(4, 80), overlap=st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_windows_by_a_tokenizer(
    encoder: PairEncoder, document: str, most_tokens: int, overlap: int
) -> None:
    check(document, encoder.count, most_tokens, min(overlap, most_tokens // 2))


@given(document=DOCUMENTS, most_tokens=st.integers(24, 80), overlap=st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_only_sentences_longer_than_a_window_are_cut(
    encoder: PairEncoder, document: str, most_tokens: int, overlap: int
) -> None:
    for _, end in windows(document, encoder.count, most_tokens, overlap)[:-1]:
        cut = [span for span in sentences(document) if span[0] < end < span[1]]
        for start, stop in cut:
            assert encoder.count([document[start:stop]])[0] > most_tokens


def test_windows_share_whole_sentences(encoder: PairEncoder) -> None:
    document = "".join(f"The room number {n % 10} is on the left. " for n in range(60))
    (one,) = encoder.count(["The room number 3 is on the left. "])
    starts = {start for start, _ in sentences(document)}
    for overlap, shared in ((0, 0), (one - 3, 0), (2 * one, 2), (4 * one, 4)):
        spans = check(document, encoder.count, 10 * one, overlap)
        found = [document[start:end].count("left.") for (_, end), (start, _) in pairwise(spans)]
        assert set(found) == {shared}, overlap
        assert {start for start, _ in spans} <= starts


def test_no_short_rest_is_left(encoder: PairEncoder) -> None:
    """What is a little longer than a window becomes two alike, not one and a scrap."""
    document = "The tide turns at noon. " * 45
    (tokens,) = encoder.count([document])
    spans = check(document, encoder.count, int(tokens * 0.9), 0)
    first, second = encoder.count([document[start:end] for start, end in spans])
    assert abs(first - second) <= tokens // 10


def test_one_character_of_many_tokens_stays_whole(encoder: PairEncoder) -> None:
    assert encoder.count(["\U00012000"])[0] > 2
    assert check("\U00012000" * 5, encoder.count, 2, 0) == [(n, n + 1) for n in range(5)]


@pytest.mark.parametrize(
    "unit",
    [
        *("word ", "a", "a\n", ".", '."', " ", "7", "🇫🇷", "\u0301", "。", "好。", "\n", "x,", "É"),
        "A sentence of some length, with 7 numbers. ",
    ],
)
def test_the_work_is_linear(unit: str) -> None:
    """Characters counted per character of the document, whatever it consists of."""
    counted = {}
    for length in (30_000, 240_000):
        seen = 0

        def count(texts: Sequence[str]) -> list[int]:
            nonlocal seen
            seen += sum(map(len, texts))
            return estimate_tokens(texts)

        check(unit * (length // len(unit)), count, 256, 32)
        counted[length] = seen / length
    assert counted[240_000] <= 1.1 * counted[30_000] + 0.1
    assert counted[240_000] < 8


@pytest.mark.parametrize(
    ("documents", "most_counted"),
    [
        (["word and more. " * 270_000], 2**18),  # 4 million characters
        (["x" * 4_000_000], 2**18),
        ([f"{i} word and more. " * 60 for i in range(3000)], 2 * 2**18),
    ],
    ids=["sentences", "one word", "many documents"],
)
def test_a_limit_of_windows_is_noticed_early(documents: list[str], most_counted: int) -> None:
    counted = 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal counted
        counted += sum(map(len, texts))
        return [len(text) // 4 + 1 for text in texts]

    meter = CountingMeter(count, 8192, checks=False)
    requests = [ScoreRequest("q", "", documents)]
    with pytest.raises(TooManyWindowsError, match="more than 1000 windows"):
        run(planning(requests, Windows(16, 2), meter, most=1000))
    assert counted <= most_counted + 1000


def test_the_limit_of_windows_is_exact() -> None:
    meter = CountingMeter(lambda texts: [len(text) // 4 + 1 for text in texts], 8192, checks=False)
    documents = ["a", "word and more. " * 200, "a", "word. " * 500]
    requests = [ScoreRequest("q", "", documents), ScoreRequest("p", "", ["a", documents[1]])]
    n = run(planning(requests, Windows(64, 8), meter)).n_documents
    assert n > 30
    assert run(planning(requests, Windows(64, 8), meter, most=n)).n_documents == n
    with pytest.raises(TooManyWindowsError):
        run(planning(requests, Windows(64, 8), meter, most=n - 1))
