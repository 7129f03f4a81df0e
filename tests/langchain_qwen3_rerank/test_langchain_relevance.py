"""`Qwen3Relevance`: a grade of one document for one question, alone, in batches and in graphs."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from pydantic import ValidationError
from support.calibrations import HALF, calibrated

from langchain_qwen3_rerank import Qwen3Relevance, Relevance
from shared_core import Reranker, RerankError, ScoreRequest
from shared_core.scoring import Scored

TEA = "Leaves came late. Green tea steeps at 80 degrees."


class Counting:
    """Scores 2 where the first word of the query is in a text, else −2, and counts the calls."""

    def __init__(self, failing: bool = False) -> None:
        self.asked: list[list[ScoreRequest]] = []
        self.failing = failing

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        raise AssertionError("score_many is there")

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        if self.failing:
            raise RerankError("out of order")
        self.asked.append(list(requests))
        return [
            [Scored(2.0 if r.query.split()[0] in text.lower() else -2.0) for text in r.documents]
            for r in requests
        ]


PAIRS: list[dict[str, Any]] = [
    {"question": "tea?", "document": Document("Bread.")},
    {"query": "bread", "document": Document("Bread needs yeast.", metadata={"title": "Food"})},
    {"query": "tea", "document": TEA},
    {"query": "bread", "document": "Tea."},
]
PAIRS[0]["question"] = "tea"


async def test_a_batch_is_one_request_and_keeps_its_order() -> None:
    scorer = Counting()
    grader = Qwen3Relevance(reranker=Reranker(scorer=scorer))
    grades = grader.batch(PAIRS)
    assert [grade.relevant for grade in grades] == [False, True, True, False]
    assert [grade.binary_score for grade in grades] == ["no", "yes", "yes", "no"]
    assert [len(requests) for requests in scorer.asked] == [2]  # one for each question
    assert await grader.abatch(PAIRS) == grades
    assert [grader.invoke(pair) for pair in PAIRS] == grades
    assert [await grader.ainvoke(pair) for pair in PAIRS] == grades
    assert grader.batch([]) == []


def test_evidence_takes_one_more_request() -> None:
    scorer = Counting()
    grader = Qwen3Relevance(
        reranker=Reranker(scorer=scorer), evidence=True, document_text=["title"]
    )
    grades = grader.batch(PAIRS)
    assert len(scorer.asked) == 2
    found = [grade.evidence and grade.evidence["text"] for grade in grades]
    assert found[2] == "Green tea steeps at 80 degrees."
    assert found[1] in (None, "Bread needs yeast.")  # or the title


def test_a_model_gives_the_score_of_the_reranker(reranker: Reranker) -> None:
    grader = Qwen3Relevance(reranker=reranker, threshold=0.0)
    grade = grader.invoke({"query": "tea?", "document": TEA})
    assert grade == Relevance(relevant=True, score=grade.score)
    assert grade.score == pytest.approx(reranker.score("tea?", [TEA])[0], abs=1e-6)
    strict = Qwen3Relevance(reranker=reranker, threshold=1.0)
    assert not strict.invoke({"query": "tea?", "document": TEA}).relevant


def test_a_calibrated_probability_decides(tmp_path: Path) -> None:
    grader = Qwen3Relevance(reranker=calibrated(tmp_path))
    grades = grader.batch([{"query": "q", "document": margin} for margin in ("1", "3")])
    assert [grade.probability for grade in grades] == [HALF.of(1.0), HALF.of(3.0)]
    assert [grade.relevant for grade in grades] == [False, True]
    assert all(grade.score and grade.score > 0.5 for grade in grades)


def test_failures_raise_or_pass() -> None:
    grader = Qwen3Relevance(reranker=Reranker(scorer=Counting(failing=True)))
    with pytest.raises(RerankError, match="out of order"):
        grader.batch(PAIRS)
    returned: list[Any] = grader.batch(PAIRS[:2], return_exceptions=True)
    assert [type(one) for one in returned] == [RerankError] * 2
    passing = Reranker(scorer=Counting(failing=True), on_error="passthrough")
    (grade,) = Qwen3Relevance(reranker=passing).batch(PAIRS[:1])
    assert grade.relevant
    assert (grade.score, grade.error) == (None, "RerankError: out of order")


@pytest.mark.parametrize(
    "given", ["tea", {"query": "tea"}, {"document": "x"}, {"query": 1, "document": "x"}]
)
def test_what_is_no_pair_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="a grade takes"):
        Qwen3Relevance(reranker=Reranker(scorer=Counting())).invoke(given)


@pytest.mark.parametrize("options", [{"threshold": 1.5}, {"threshold": "0.5"}, {"treshold": 0.5}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="reshold"):
        Qwen3Relevance(model="tiny", **options)


def test_copies_and_chains(reranker: Reranker) -> None:
    grader = Qwen3Relevance(reranker=reranker, threshold=0.25)
    assert copy.deepcopy(grader).reranker is reranker
    assert pickle.loads(pickle.dumps(grader)).threshold == 0.25  # noqa: S301 - our own bytes
    chain = grader | RunnableLambda(lambda grade: grade.score)
    assert chain.invoke(PAIRS[2]) == grader.invoke(PAIRS[2]).score


def test_every_pair_is_a_run_for_tracers() -> None:
    class Seen(BaseCallbackHandler):
        starts = 0

        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            self.starts += 1

    seen = Seen()
    grader = Qwen3Relevance(reranker=Reranker(scorer=Counting()))
    grader.batch(PAIRS, config={"callbacks": [seen]})
    assert seen.starts == len(PAIRS)
