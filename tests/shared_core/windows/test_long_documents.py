"""Long documents through the facade: over any backend, best window first, contracts kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from shared_core import (
    DEFAULT_INSTRUCTION,
    ConfigurationError,
    QueryTooLongError,
    Reranker,
    Scored,
    ScoreRequest,
    ScoringError,
    TextEncodingError,
)
from shared_core.adapter import AdapterOptions
from shared_core.options.windows import WindowOptions
from shared_core.shown import shown_window
from shared_core.windows.folding import WindowPlan
from shared_core.windows.meters import estimate_tokens

QUERY = "Where is the needle?"
FILLER = "The hay is dry and yellow. " * 30
NEEDLE = "Look here: needle 7. "


class NeedleScorer:
    """A user's own backend: the margin is the number after "needle", else minus one."""

    def __init__(self) -> None:
        self.documents: list[tuple[str, ...]] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.documents.append(tuple(documents))
        found = [re.search(r"needle (\d+)", text) for text in documents]
        return [-1.0 if match is None else float(match.group(1)) for match in found]


class WordCounter(NeedleScorer):
    """The same, with tokens of its own."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class FailingCounter(NeedleScorer):
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        raise KeyError("no vocabulary")


class ForgetfulCounter(NeedleScorer):
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return []


def over(scorer: NeedleScorer, **options: object) -> Reranker:
    return Reranker(
        scorer=scorer,
        **{"long_documents": "windows", "window_tokens": 64, **options},  # type: ignore[arg-type]
    )


def test_a_document_takes_the_score_and_span_of_its_best_window() -> None:
    document = FILLER + NEEDLE + FILLER
    scorer = NeedleScorer()
    first, second = over(scorer).rerank(QUERY, ["short", document])
    assert (first.index, first.logit, first.document) == (1, 7.0, document)
    start, end = first.window or (0, 0)
    assert NEEDLE in document[start:end]
    assert estimate_tokens([document[start:end]])[0] <= 64
    assert (second.index, second.window, second.document) == (0, None, "short")
    (sent,) = scorer.documents
    assert "short" in sent
    assert document not in sent
    assert "".join(dict.fromkeys(sent)).count(NEEDLE) >= 1
    assert over(scorer).score(QUERY, ["needle 0", document])[0] == 0.5


def test_truncate_hands_documents_on_as_they_are() -> None:
    scorer = NeedleScorer()
    document = FILLER * 50
    (one,) = Reranker(scorer=scorer).rerank(QUERY, [document], return_window=True)
    assert scorer.documents == [(document,)]
    assert (one.window, one.document) == (None, document)


def test_the_first_of_equal_windows_wins() -> None:
    """Also by score, which saturates: the margin decides."""
    document = FILLER + NEEDLE + FILLER + NEEDLE + FILLER + "Look: needle 40. " + FILLER
    (one,) = over(NeedleScorer()).rerank(QUERY, [document])
    assert "needle 40" in document[slice(*one.window)]  # type: ignore[misc]
    (one,) = over(NeedleScorer()).rerank(QUERY, [FILLER * 2])
    assert one.window is not None
    assert one.window[0] == 0


def test_return_window_replaces_the_text() -> None:
    document = FILLER + NEEDLE + FILLER
    reranker = over(NeedleScorer())
    whole, part = (
        reranker.rerank(QUERY, [document], return_window=wanted)[0] for wanted in (False, True)
    )
    assert whole.document == document
    assert part.document == document[slice(*part.window)]  # type: ignore[misc]
    assert whole.window == part.window
    assert reranker.rerank(QUERY, ["short"], return_window=True)[0].document == "short"


async def test_a_call_has_options_of_its_own() -> None:
    document = FILLER + NEEDLE
    reranker = Reranker(scorer=NeedleScorer())
    split = {"long_documents": "windows", "window_tokens": 32, "window_overlap": 0}
    for found in (
        reranker.rerank(QUERY, [document], **split),
        reranker.rerank_many([QUERY], [[document]], **split)[0],
        await reranker.arerank(QUERY, [document], **split),
        (await reranker.arerank_many([QUERY], [[document]], **split))[0],
    ):
        assert found[0].window is not None
        assert found[0].window[1] - found[0].window[0] < 150
    assert reranker.rerank(QUERY, [document])[0].window is None
    expected = reranker.score(QUERY, [document], **split)
    assert await reranker.ascore(QUERY, [document], **split) == expected
    assert (
        over(NeedleScorer()).rerank(QUERY, [document], long_documents="truncate")[0].window is None
    )


def test_windows_are_scored_once_and_remembered() -> None:
    scorer = NeedleScorer()
    reranker = over(scorer, cache_size=100, window_overlap=0)
    document = FILLER + NEEDLE
    twice = reranker.rerank(QUERY, [document, "x", document])
    assert [one.index for one in twice] == [0, 2, 1]
    assert twice[0].window == twice[1].window
    (sent,) = scorer.documents
    assert len(sent) == len(set(sent))
    reranker.rerank(QUERY, [document])
    assert scorer.documents == [sent]


def test_threshold_top_k_and_empty_documents() -> None:
    reranker = over(NeedleScorer())
    documents = ["", FILLER, FILLER + NEEDLE, "needle 3"]
    ranked = reranker.rerank(QUERY, documents, score_threshold=0.5)
    assert [one.index for one in ranked] == [2, 3]
    assert [one.index for one in reranker.rerank(QUERY, documents, top_k=1)] == [2]
    assert reranker.rerank(QUERY, []) == []
    assert reranker.rerank_many([QUERY, QUERY], [[], documents], top_k=1)[0] == []


def test_a_failure_passes_whole_documents_through() -> None:
    class Failing(NeedleScorer):
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            raise ConnectionError("the line is dead")

    reranker = over(Failing(), on_error="passthrough")
    documents = [FILLER, "short"]
    for ranked in (
        reranker.rerank(QUERY, documents, return_window=True),
        asyncio.run(reranker.arerank(QUERY, documents, return_window=True)),
    ):
        assert [one.document for one in ranked] == documents
        assert [one.window for one in ranked] == [None, None]
        assert all("the line is dead" in (one.error or "") for one in ranked)


def test_a_scorers_own_tokens_are_counted() -> None:
    scorer = WordCounter()
    over(scorer, window_tokens=20, window_overlap=0, max_length=100_000).rerank(QUERY, [FILLER])
    (sent,) = scorer.documents
    assert max(len(text.split()) for text in sent) in range(15, 21)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (FailingCounter(), "FailingCounter.count_tokens failed: KeyError"),
        (ForgetfulCounter(), "returned no count for each"),
    ],
)
def test_a_failing_count_is_a_scoring_error(scorer: NeedleScorer, message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        over(scorer).rerank(QUERY, [FILLER])


def test_windows_fit_into_max_length_with_the_prompt() -> None:
    scorer = NeedleScorer()
    prompt = sum(estimate_tokens([QUERY])) + 150
    over(scorer, window_tokens=1024, max_length=prompt).rerank(QUERY, [FILLER])
    assert max(estimate_tokens(list(scorer.documents[0]))) < prompt - 50
    assert len(scorer.documents[0]) > 3
    with pytest.raises(QueryTooLongError):
        over(scorer, window_tokens=16, max_length=60).rerank(QUERY, [FILLER])


def test_a_lone_surrogate_is_named_by_its_document(tiny: Reranker) -> None:
    with pytest.raises(TextEncodingError, match="document 1"):
        tiny.rerank(QUERY, [FILLER * 9, "\ud800"], long_documents="windows", window_tokens=64)


def test_a_scorer_of_the_users_gets_lone_surrogates_as_before() -> None:
    assert over(NeedleScorer()).score(QUERY, ["\ud800" * 100])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long_documents": "split"}, "long_documents"),
        ({"window_tokens": 15}, "window_tokens"),
        ({"window_overlap": -1}, "window_overlap"),
        ({"window_tokens": 100, "window_overlap": 51}, "more than half of window_tokens=100"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Reranker(**options)  # type: ignore[arg-type]
    reranker = Reranker(scorer=NeedleScorer())
    with pytest.raises(ValidationError, match=message):
        reranker.rerank(QUERY, ["x"], **options)  # type: ignore[arg-type]


def test_the_overlap_is_an_eighth_unless_told() -> None:
    told = WindowOptions(long_documents="windows", window_tokens=200).windows
    assert told is not None
    assert (told.tokens, told.overlap) == (200, 25)
    assert (told.within(100).tokens, told.within(100).overlap) == (100, 12)


def test_an_adapter_has_windows_of_its_own_over_a_shared_reranker() -> None:
    shared = Reranker(scorer=NeedleScorer(), long_documents="windows", window_tokens=100)
    assert AdapterOptions(reranker=shared).window_tokens == 100
    own = AdapterOptions(reranker=shared, long_documents="truncate", window_tokens=50)
    assert own.call_options == {
        "instruction": DEFAULT_INSTRUCTION,
        "long_documents": "truncate",
        "window_tokens": 50,
        "window_overlap": None,
    }
    with pytest.raises((ValidationError, ConfigurationError), match="more than half"):
        AdapterOptions(reranker=shared, window_overlap=60)


def test_what_is_unknown_of_a_window_is_unknown_of_the_document() -> None:
    plan = WindowPlan([ScoreRequest(QUERY, "", ["a", "b", "c"])], [[[(0, 5), (4, 9)], None]])
    answers = [Scored(1.0, 10, False), Scored(2.0, 12, None), Scored(0.0, 7, True)]
    ((best, whole),) = plan.fold([answers])
    assert best == Scored(2.0, 12, None, (4, 9), 22)
    assert whole == answers[2]
    cut = [Scored(3.0, None, True), *answers[1:]]
    assert plan.fold([cut])[0][0] == Scored(3.0, None, True, (0, 5), None)


@pytest.mark.parametrize(
    ("content", "judged", "window", "expected"),
    [
        ("a b c", "a b c", (2, 5), (2, 5, "b c")),
        ("text", "title: x\n\ntext", (5, 12), (0, 2, "te")),
        ("  text ", "title: x\n\ntext", (5, 12), (0, 4, "  te")),
        ("text", "title: x\n\ntext", (0, 8), None),
        ("text", "summary of it", (0, 7), (0, 7, "summary")),
    ],
)
def test_windows_of_what_is_shown(
    content: str, judged: str, window: tuple[int, int], expected: tuple[int, int, str] | None
) -> None:
    assert shown_window(content, judged, window) == expected
