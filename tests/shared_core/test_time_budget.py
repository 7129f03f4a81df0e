"""`time_budget`: packs in the retriever's order, as many as there is time for; one at least.

A clock that scoring advances stands for the machine's, so that packs are counted and no seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shared_core import RankedDocument, Reranker, pacing

DOCUMENTS = [f"{number:3}" for number in range(200)]


class Slow:
    """A backend whose margin is the number that a document is; it takes time on its own clock."""

    def __init__(self, each: float, overhead: float = 0.0) -> None:
        self.now = 0.0
        self.each, self.overhead = each, overhead
        self.packs: list[list[str]] = []

    def load(self) -> None:
        """Take longer than any budget, the first time."""
        self.now += 0.0 if self.packs else 1000.0

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.packs.append(list(documents))
        self.now += self.overhead + self.each * sum(map(len, documents)) / 3
        return [float(document) for document in documents]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Slow:
    scorer = Slow(*getattr(request, "param", (1.0,)))
    monkeypatch.setattr(pacing, "monotonic", lambda: scorer.now)
    return scorer


def scored(ranking: Sequence[RankedDocument]) -> int:
    """Return how many were, and look at the order of the others."""
    count = sum(found.scored for found in ranking)
    assert all(found.scored for found in ranking[:count])
    assert sorted(found.index for found in ranking[:count]) == list(range(count))
    assert [found.index for found in ranking[count:]] == list(range(count, len(ranking)))
    assert all((found.logit, found.error) == (None, None) for found in ranking[count:])
    return count


@pytest.mark.parametrize("slow", [(1.0,), (1.0, 2.0), (0.1, 5.0)], indirect=True)
@pytest.mark.parametrize("budget", [20, 50, 130])
async def test_a_budget_is_kept_and_most_of_it_used(slow: Slow, budget: float) -> None:
    reranker = Reranker(scorer=slow)
    ranking = reranker.rerank("q", DOCUMENTS, time_budget=budget)
    reached = scored(ranking)
    used = slow.now - 1000
    assert reached == sum(map(len, slow.packs))
    assert budget / 3 < used <= budget or reached == len(DOCUMENTS)
    assert len(slow.packs[0]) == pacing.FIRST
    assert all(
        len(pack) <= 4 * sum(map(len, slow.packs[:n])) for n, pack in enumerate(slow.packs[1:], 1)
    )
    again = await reranker.arerank("q", DOCUMENTS, time_budget=budget)
    assert scored(again) == reached


@pytest.mark.parametrize("slow", [(30.0,)], indirect=True)
def test_one_pack_is_always_scored_and_none_after_the_end(slow: Slow) -> None:
    ranking = Reranker(scorer=slow).rerank("q", DOCUMENTS, time_budget=1e-9, top_k=6)
    assert slow.packs == [DOCUMENTS[: pacing.FIRST]]
    assert [found.index for found in ranking] == [3, 2, 1, 0, 4, 5]
    assert scored(ranking) == 4


async def test_a_query_that_fails_spoils_no_other_and_gets_no_time_anew(slow: Slow) -> None:
    reranker = Reranker(scorer=slow, on_error="passthrough")
    lists = [DOCUMENTS[:50], ["x", *DOCUMENTS[50:99]], DOCUMENTS[100:150]]
    good, bad, other = reranker.rerank_many(["a", "b", "c"], lists, time_budget=30)
    assert slow.now - 1000 <= 30
    assert scored(good) > pacing.FIRST
    assert scored(other) > pacing.FIRST
    assert [found.index for found in bad] == list(range(50))
    assert all("could not convert" in (found.error or "") for found in bad)
    assert sum(pack.count("x") for pack in slow.packs) == 2  # with others, and by itself
    again = await reranker.arerank_many(["a", "b", "c"], lists, time_budget=30)
    assert again == [good, bad, other]


def test_longer_documents_are_expected_to_take_longer(slow: Slow) -> None:
    documents = ["1" + " " * 299] * 1 + [f"{n}".ljust(30_000) for n in range(9)]
    Reranker(scorer=slow).rerank("q", documents, time_budget=45_000)
    assert slow.now - 1000 <= 45_000


def test_queries_take_turns_and_copies_count_once(slow: Slow) -> None:
    lists = [["1", "1", "2", "3", "1", "9"], ["5", "6", "7"], []]
    found = Reranker(scorer=slow).rerank_many(["a", "b", "c"], lists, time_budget=1e-9)
    assert slow.packs == [["1", "2"], ["5", "6"]]
    assert [[one.index for one in ranking] for ranking in found] == [
        [2, 0, 1, 4, 3, 5],
        [1, 0, 2],
        [],
    ]
    assert [[one.scored for one in ranking] for ranking in found[:2]] == [
        [True] * 4 + [False] * 2,
        [True, True, False],
    ]


def test_with_candidates_a_threshold_and_fusion(slow: Slow) -> None:
    reranker = Reranker(scorer=slow)
    first = reranker.rerank("q", DOCUMENTS, time_budget=1e9, max_candidates=7)
    assert scored(first) == 7
    assert sum(map(len, slow.packs)) == 7
    kept = reranker.rerank("q", DOCUMENTS, time_budget=1e-9, score_threshold=0.9)
    assert [found.index for found in kept] == [3]
    fused = reranker.rerank(
        "q", DOCUMENTS, time_budget=1e-9, fusion=1.0, retriever_scores=range(200), top_k=5
    )
    assert [found.index for found in fused] == [3, 2, 1, 0, 4]
    assert fused[-1].fused_score is None


async def test_a_local_model_scores_as_without(reranker: Reranker) -> None:
    documents = [f"Mars is red, {number}." for number in range(9)]
    whole = reranker.rerank("red planet", documents)
    paced = reranker.rerank("red planet", documents, time_budget=1000)
    assert [found.index for found in paced] == [found.index for found in whole]
    for found, expected in zip(paced, whole, strict=True):
        assert found.logit == pytest.approx(expected.logit, abs=1e-5)
    little = await reranker.arerank("red planet", documents, time_budget=1e-9)
    assert scored(little) == pacing.FIRST
    assert reranker.rerank("red planet", [], time_budget=1) == []


@pytest.mark.parametrize("value", [0, -1.0, True, "1", float("nan"), float("inf")])
def test_what_is_no_time_is_refused(slow: Slow, value: Any) -> None:
    with pytest.raises(ValueError, match="time_budget"):
        Reranker(scorer=slow).rerank("q", ["1"], time_budget=value)
    assert not slow.packs
