"""The facade: what goes in, what comes out, what is scored and what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared_core import (
    DEFAULT_INSTRUCTION,
    ClosedError,
    QueryTooLongError,
    RankedDocument,
    Reranker,
    ScoringError,
)

QUERY = "Which drink is brewed from leaves?"
DOCUMENTS = ["Coffee is brewed from beans.", "Tea is brewed from leaves.", "Bread is baked."]


class LengthScorer:
    """A user's own backend: the margin is the document's length, minus ten."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[str, ...], str]] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.calls.append((query, tuple(documents), instruction))
        return [len(document) - 10.0 for document in documents]


class FailingScorer:
    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        raise ConnectionError("the line is dead")


def test_results_carry_everything_promised(reranker: Reranker) -> None:
    ranking = reranker.rerank(QUERY, DOCUMENTS)
    scores = reranker.score(QUERY, DOCUMENTS)
    assert [one.score for one in ranking] == sorted(scores, reverse=True)
    for one in ranking:
        assert one.document == DOCUMENTS[one.index]
        assert one.score == pytest.approx(scores[one.index], abs=1e-6)
        assert one.score == pytest.approx(1 / (1 + math.exp(-one.logit)))
        assert type(one.score) is type(one.logit) is float
        assert one.n_tokens > 50
        assert one.truncated is False
        assert one.error is None


def test_a_result_cannot_be_changed(reranker: Reranker) -> None:
    (one,) = reranker.rerank(QUERY, DOCUMENTS[:1])
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.score = 1.0  # type: ignore[misc]


def test_a_cut_document_is_reported(checkpoint: Path) -> None:
    with Reranker(str(checkpoint), max_length=128) as reranker:
        ranking = reranker.rerank(QUERY, ["short", "long " * 500])
    assert {one.index: (one.truncated, one.n_tokens == 128) for one in ranking} == {
        0: (False, False),
        1: (True, True),
    }


def test_top_k_threshold_and_min_docs_reach_the_ranking() -> None:
    reranker = Reranker(scorer=LengthScorer())
    documents = ["a" * 30, "b" * 9, "c" * 20, "d"]
    assert [one.index for one in reranker.rerank(QUERY, documents, top_k=1)] == [0]
    kept = reranker.rerank(QUERY, documents, score_threshold=0.5)
    assert [one.index for one in kept] == [0, 2]
    kept = reranker.rerank(QUERY, documents, score_threshold=0.5, min_docs=3)
    assert [one.index for one in kept] == [0, 2, 1]


def test_no_documents_cost_nothing(checkpoint: Path) -> None:
    reranker = Reranker(str(checkpoint))
    assert reranker.rerank(QUERY, []) == []
    assert reranker.score(QUERY, ()) == []
    assert reranker.rerank_many([QUERY, QUERY], [[], []]) == [[], []]
    assert reranker.rerank_many([], []) == []
    assert not reranker.is_loaded


def test_any_iterable_of_strings_will_do() -> None:
    reranker = Reranker(scorer=LengthScorer())
    assert [one.index for one in reranker.rerank(QUERY, (d for d in DOCUMENTS))] == [0, 1, 2]


def test_the_callers_list_is_not_changed(reranker: Reranker) -> None:
    documents = list(DOCUMENTS)
    reranker.rerank(QUERY, documents)
    assert documents == DOCUMENTS


@pytest.mark.parametrize(
    ("query", "documents", "error", "message"),
    [
        (None, ["a"], TypeError, "query must be a string or a Content, got NoneType"),
        ("", ["a"], ValueError, "query is blank"),
        (" \n", ["a"], ValueError, "query is blank"),
        ("q", "a document", TypeError, "wrap it in"),
        ("q", {"id": "a document"}, TypeError, "got a dict"),
        ("q", {"a document"}, TypeError, "got a set"),
        ("q", ["a", None], TypeError, "document 1 is NoneType"),
        ("q", [{"text": "a"}], TypeError, "document 0 is dict"),
    ],
)
def test_bad_texts_are_refused_by_name(
    query: Any, documents: Any, error: type[Exception], message: str
) -> None:
    scorer = LengthScorer()
    with pytest.raises(error, match=message):
        Reranker(scorer=scorer).rerank(query, documents)
    assert scorer.calls == []


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"top_k": -1},
        {"top_k": 1.5},
        {"score_threshold": 1.1},
        {"score_threshold": math.nan},
        {"min_docs": -1},
        {"top_k": 2, "min_docs": 3},
    ],
)
def test_bad_ranking_options_are_refused(options: dict[str, Any]) -> None:
    name = list(options)[-1]
    with pytest.raises(ValueError, match=name):
        Reranker(scorer=LengthScorer()).rerank(QUERY, DOCUMENTS, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 0},
        {"max_batch_tokens": 0},
        {"threads": 0},
        {"backend": "onyx"},
        {"dtype": "int7"},
        {"hub": "github"},
        {"cache_size": -1},
        {"on_error": "ignore"},
        {"model": ""},
    ],
)
def test_bad_options_are_refused_at_construction(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        Reranker(**options)


def test_queries_and_lists_must_be_as_many() -> None:
    reranker = Reranker(scorer=LengthScorer())
    with pytest.raises(ValueError, match="2 queries and 1 lists"):
        reranker.rerank_many(["a", "b"], [["c"]])
    with pytest.raises(TypeError, match="use rerank"):
        reranker.rerank_many("a", [["c"]])


def test_instruction_of_the_call_overrides_the_constructors() -> None:
    scorer = LengthScorer()
    Reranker(scorer=scorer).score("q", ["d"])
    reranker = Reranker(scorer=scorer, instruction="mine")
    reranker.score("q", ["d"])
    reranker.score("q", ["d"], instruction="yours")
    reranker.score("q", ["d"], instruction=lambda query: f"about {query}")
    assert [call[2] for call in scorer.calls] == [DEFAULT_INSTRUCTION, "mine", "yours", "about q"]


def test_an_instruction_moves_the_real_scores(reranker: Reranker) -> None:
    assert reranker.score(QUERY, DOCUMENTS) != reranker.score(
        QUERY, DOCUMENTS, instruction="Find a sentence about baking"
    )


def test_an_instruction_that_is_no_string_is_refused() -> None:
    reranker = Reranker(scorer=LengthScorer())
    with pytest.raises(TypeError, match="function returned NoneType"):
        reranker.score("q", ["d"], instruction=lambda query: None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got int"):
        reranker.score("q", ["d"], instruction=7)  # type: ignore[arg-type]


def test_duplicates_are_scored_once_and_answered_each() -> None:
    scorer = LengthScorer()
    ranking = Reranker(scorer=scorer).rerank("q", ["aa", "b", "aa", "aa"])
    assert scorer.calls[0][1] == ("aa", "b")
    assert [one.index for one in ranking] == [0, 2, 3, 1]


def test_the_cache_is_exact_and_off_by_default() -> None:
    scorer = LengthScorer()
    reranker = Reranker(scorer=scorer)
    for _ in range(2):
        reranker.score("q", ["d"])
    assert len(scorer.calls) == 2

    scorer.calls.clear()
    cached = Reranker(scorer=scorer, cache_size=3)
    assert cached.score("q", ["d", "e"]) == cached.score("q", ["d", "e"])
    cached.score("q", ["d", "f"])
    cached.score("q", ["d"], instruction="other")
    cached.score("p", ["d"])
    assert [call[1] for call in scorer.calls] == [("d", "e"), ("f",), ("d",), ("d",)]
    cached.unload()
    cached.score("p", ["d"])
    assert len(scorer.calls) == 5


def test_cached_results_keep_their_details(checkpoint: Path) -> None:
    with Reranker(str(checkpoint), cache_size=10, max_length=100) as reranker:
        first = reranker.rerank(QUERY, [*DOCUMENTS, "long " * 200])
        assert reranker.rerank(QUERY, [*DOCUMENTS, "long " * 200]) == first
        assert any(one.truncated for one in first)


def test_a_failing_scorer_raises_its_translation() -> None:
    with pytest.raises(ScoringError, match="ConnectionError: the line is dead") as caught:
        Reranker(scorer=FailingScorer()).rerank(QUERY, DOCUMENTS)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_passthrough_invents_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reranker = Reranker(scorer=FailingScorer(), on_error="passthrough", cache_size=9)
    with caplog.at_level(logging.WARNING, "qwen3_rerank"):
        ranking = reranker.rerank(QUERY, DOCUMENTS, top_k=2, score_threshold=0.9)
    assert [(one.index, one.document) for one in ranking] == list(enumerate(DOCUMENTS[:2]))
    assert {(one.score, one.logit) for one in ranking} == {(None, None)}
    assert all("the line is dead" in one.error for one in ranking)
    assert "passing 3 documents through unscored" in caplog.text
    with pytest.raises(ScoringError):
        reranker.score(QUERY, DOCUMENTS)


def test_passthrough_spoils_only_the_query_that_failed(checkpoint: Path) -> None:
    with Reranker(str(checkpoint), on_error="passthrough", max_length=200) as reranker:
        rankings = reranker.rerank_many([QUERY, "long " * 300, QUERY], [DOCUMENTS] * 3)
        alone = reranker.rerank(QUERY, DOCUMENTS)
    assert [one.error is None for ranking in rankings for one in ranking] == [
        *[True] * 3,
        *[False] * 3,
        *[True] * 3,
    ]
    assert [one.index for one in rankings[0]] == [one.index for one in alone]
    assert "QueryTooLongError" in rankings[1][0].error


def test_a_callers_mistake_is_never_passed_through() -> None:
    reranker = Reranker(scorer=LengthScorer(), on_error="passthrough")
    with pytest.raises(TypeError):
        reranker.rerank(QUERY, [None])  # type: ignore[list-item]


@pytest.mark.parametrize("answer", [[], [1.0], [1.0, math.nan, 2.0], [math.inf] * 3, ["x"] * 3])
def test_a_scorer_that_answers_wrongly_is_an_error(answer: list[Any]) -> None:
    class Wrong:
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[Any]:
            return answer

    with pytest.raises(ScoringError):
        Reranker(scorer=Wrong()).rerank(QUERY, DOCUMENTS)


def test_a_query_too_long_is_an_error(checkpoint: Path) -> None:
    with (
        Reranker(str(checkpoint), max_length=100) as reranker,
        pytest.raises(QueryTooLongError, match="max_length is 100"),
    ):
        reranker.rerank("long " * 200, DOCUMENTS)


def test_unload_frees_and_the_next_call_loads_again(checkpoint: Path) -> None:
    reranker = Reranker(str(checkpoint))
    before = reranker.score(QUERY, DOCUMENTS)
    assert reranker.is_loaded
    reranker.unload()
    assert not reranker.is_loaded
    assert reranker.score(QUERY, DOCUMENTS) == before


def test_a_closed_reranker_says_so(checkpoint: Path) -> None:
    with Reranker(str(checkpoint), on_error="passthrough") as reranker:
        reranker.score(QUERY, DOCUMENTS)
    assert not reranker.is_loaded
    with pytest.raises(ClosedError, match="closed"):
        reranker.rerank(QUERY, DOCUMENTS)
    with pytest.raises(ClosedError, match="closed"):
        asyncio.run(reranker.arerank(QUERY, DOCUMENTS))
    reranker.close()


async def test_async_calls_return_what_sync_calls_return(checkpoint: Path) -> None:
    async with Reranker(str(checkpoint)) as reranker:
        expected = reranker.rerank(QUERY, DOCUMENTS, top_k=2)
        assert await reranker.arerank(QUERY, DOCUMENTS, top_k=2) == expected
        assert await reranker.arerank_many([QUERY], [DOCUMENTS], top_k=2) == [expected]
        assert await reranker.ascore(QUERY, DOCUMENTS) == reranker.score(QUERY, DOCUMENTS)
        with pytest.raises(ValueError, match="blank"):
            await reranker.arerank("", DOCUMENTS)


def test_pickling_carries_options_and_no_model(checkpoint: Path) -> None:
    reranker = Reranker(str(checkpoint), instruction="mine", cache_size=4)
    scores = reranker.score(QUERY, DOCUMENTS)
    data = pickle.dumps(reranker)
    assert len(data) < 2_000
    copy = pickle.loads(data)  # noqa: S301 - our own bytes
    assert not copy.is_loaded
    assert copy.options == reranker.options
    assert copy.score(QUERY, DOCUMENTS) == scores


def test_errors_and_results_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(QueryTooLongError(120, 100)))  # noqa: S301
    assert (error.prompt_tokens, error.max_length) == (120, 100)
    result = RankedDocument(0, 0.5, 0.0, "d", 9, False)
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301


def test_progress_is_drawn_on_request_only(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for show, seen in ((False, False), (True, True)):
        with Reranker(str(checkpoint), show_progress=show, max_batch_tokens=1) as reranker:
            reranker.score(QUERY, ["warm up"])
            capsys.readouterr()
            reranker.score(QUERY, DOCUMENTS)
        assert ("rerank" in capsys.readouterr().err) == seen


def test_repr_says_what_it_is(checkpoint: Path) -> None:
    assert repr(Reranker("tiny")) == "Reranker(model='tiny', not loaded)"
    local = Reranker("tiny").scorer
    assert repr(Reranker(scorer=local)) == f"Reranker(scorer={type(local).__name__}, not loaded)"


def test_a_scorer_without_a_method_to_score_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"scorer is a list: expected an object with a method score"
    ):
        Reranker(scorer=[1.0])  # type: ignore[arg-type]


def test_paths_devices_and_dtypes_are_accepted_in_their_own_types(checkpoint: Path) -> None:
    import torch

    reranker = Reranker(checkpoint, device=torch.device("cpu"), dtype=torch.float32)  # type: ignore[arg-type]
    assert reranker.options.dtype == "float32"
    assert len(reranker.score(QUERY, DOCUMENTS)) == 3
