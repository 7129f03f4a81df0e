"""Fusion with the retriever's scores: the arithmetic, ties, missing scores, and every way to it."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core import ConfigurationError, RankedDocument, Reranker
from shared_core.fusion import checked_scores, fuse
from shared_core.ranking import sigmoid

QUERY = "Which drink is brewed from leaves?"
DOCUMENTS = ["Coffee is brewed from beans.", "Tea is brewed from leaves.", "Bread.", "Leaves fall."]
SCORES = [0.9, 0.2, 0.7, 0.4]

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
fusions = st.just("rrf") | st.floats(0, 1)
candidates = st.lists(st.tuples(numbers, st.none() | numbers), min_size=1, max_size=12)


class Margins:
    """A backend whose margin is the number that a document is."""

    def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
        return [float(document) for document in documents]


def zscores(values: list[float]) -> list[float]:
    """By numpy, which shares no code with the package."""
    deviation = np.std(values)
    return (
        list((np.array(values) - np.mean(values)) / deviation) if deviation else [0.0] * len(values)
    )


def test_a_weight_mixes_standardised_margins_and_scores(reranker: Reranker) -> None:
    margins = [judged.logit for judged in reranker.judge(QUERY, DOCUMENTS)]
    expected = 0.7 * np.array(zscores(margins)) + 0.3 * np.array(zscores(SCORES))
    ranking = reranker.rerank(QUERY, DOCUMENTS, fusion=0.3, retriever_scores=SCORES)
    assert [found.index for found in ranking] == list(np.argsort(-expected))
    for found in ranking:
        assert found.fused_score == pytest.approx(expected[found.index], abs=1e-9)


def test_rrf_adds_reciprocal_ranks() -> None:
    #       ranks by the margin: 2, 1, 3; by the retriever: 1, 3, 2
    ranking = Reranker(scorer=Margins()).rerank(
        "q", ["1", "5", "-3"], fusion="rrf", retriever_scores=[9, 0.5, np.float32(3)]
    )
    assert {found.index: found.fused_score for found in ranking} == {
        0: 1 / 62 + 1 / 61,
        1: 1 / 61 + 1 / 63,
        2: 1 / 63 + 1 / 62,
    }
    assert [found.index for found in ranking] == [0, 1, 2]


def test_equal_values_share_the_best_of_their_ranks() -> None:
    assert fuse([5.0, 5.0, 1.0], [2.0, 1.0, 2.0], "rrf") == [
        1 / 61 + 1 / 61,
        1 / 61 + 1 / 63,
        1 / 63 + 1 / 61,
    ]


def test_the_retriever_s_order_counts_where_it_has_no_scores() -> None:
    by_order = fuse([1.0, 2.0, 3.0], [None, None, None], 1.0)
    assert by_order == pytest.approx(zscores([3, 2, 1]))
    assert fuse([1.0, 2.0, 3.0], [None] * 3, "rrf") == fuse([1.0, 2.0, 3.0], [0.9, 0.8, 0.1], "rrf")


@pytest.mark.parametrize("fusion", ["rrf", 0.5])
def test_a_document_without_a_score_counts_like_the_lowest(fusion: Any) -> None:
    assert fuse([1.0, 2.0, 3.0], [5.0, None, 2.0], fusion) == fuse(
        [1.0, 2.0, 3.0], [5, 2, 2], fusion
    )


def test_equal_scores_decide_nothing() -> None:
    margins = [0.1, 3.0, 0.3]
    assert fuse(margins, [0.1] * 3, 0.4) == pytest.approx([0.6 * z for z in zscores(margins)])
    assert fuse([0.1] * 3, [0.1] * 3, 0.4) == [0.0] * 3
    assert fuse([7.0], [3.0], 0.4) == [0.0]
    assert fuse([], [], 0.4) == fuse([], [], "rrf") == []


def test_scores_of_any_size_are_standardised() -> None:
    for factor in (1e-320, 1e-200, 1.0, 1e300):
        found = fuse([0.0] * 3, [1 * factor, 2 * factor, 6 * factor], 1.0)
        assert found == pytest.approx(zscores([1, 2, 6]), abs=1e-2 if factor < 1e-300 else 1e-9)


@given(candidates, fusions, st.randoms())
def test_equal_evidence_gets_equal_values_in_any_order_of_the_input(
    pairs: list[tuple[float, float | None]], fusion: Any, order: random.Random
) -> None:
    if all(score is None for _, score in pairs):
        return
    margins, scores = zip(*pairs, strict=True)
    before = dict(zip(pairs, fuse(margins, scores, fusion), strict=True))
    order.shuffle(pairs)
    margins, scores = zip(*pairs, strict=True)
    assert [before[pair] for pair in pairs] == fuse(margins, scores, fusion)


@given(candidates, fusions)
def test_scores_stay_and_the_order_is_by_value_then_margin_then_input(
    pairs: list[tuple[float, float | None]], fusion: Any
) -> None:
    documents, scores = zip(*((str(margin), score) for margin, score in pairs), strict=True)
    reranker = Reranker(scorer=Margins())
    ranking = reranker.rerank("q", documents, fusion=fusion, retriever_scores=scores)
    keys = [(-found.fused_score, -found.logit, found.index) for found in ranking]
    assert keys == sorted(keys)
    assert sorted(found.index for found in ranking) == list(range(len(pairs)))
    assert all(found.score == sigmoid(float(found.document)) for found in ranking)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_the_ends_are_the_reranker_alone_and_the_retriever_alone(
    pairs: list[tuple[float, float]],
) -> None:
    documents, scores = zip(*((str(margin), score) for margin, score in pairs), strict=True)
    reranker = Reranker(scorer=Margins())

    def order(**options: Any) -> list[int]:
        return [found.index for found in reranker.rerank("q", documents, **options)]

    assert order(fusion=0, retriever_scores=scores) == order()
    by_score = [scores[index] for index in order(fusion=1, retriever_scores=scores)]
    assert by_score == sorted(scores, reverse=True)


def test_the_threshold_is_on_the_probability_and_top_k_on_the_fused_order() -> None:
    reranker = Reranker(scorer=Margins())

    def kept(**options: Any) -> list[int]:
        found = reranker.rerank(
            "q", ["3", "-1", "1", "-2"], fusion=1.0, retriever_scores=[1, 9, 2, 8], **options
        )
        return [document.index for document in found]

    assert kept() == [1, 3, 2, 0]
    assert kept(top_k=2) == [1, 3]
    assert kept(score_threshold=0.5) == [2, 0]
    assert kept(score_threshold=0.5, top_k=1) == [2]
    # min_docs puts back the first of the order that was removed, in its place.
    assert kept(score_threshold=0.5, min_docs=3) == [1, 2, 0]


async def test_every_way_gives_the_same(reranker: Reranker) -> None:
    options: dict[str, Any] = {"fusion": 0.4, "mmr": 0.6, "top_k": 3}
    vectors = [[1, 0], [0.5, 0.5], [1, 0.1], [0, 1]]
    one = reranker.rerank(QUERY, DOCUMENTS, retriever_scores=SCORES, embeddings=vectors, **options)
    other = reranker.rerank(QUERY, DOCUMENTS[::-1], **options)
    assert one == await reranker.arerank(
        QUERY, DOCUMENTS, retriever_scores=SCORES, embeddings=vectors, **options
    )
    both: dict[str, Any] = {"retriever_scores": [SCORES, None], "embeddings": [vectors, None]}
    texts = [DOCUMENTS, DOCUMENTS[::-1]]
    for many in (
        reranker.rerank_many([QUERY, QUERY], texts, **both, **options),
        await reranker.arerank_many([QUERY, QUERY], texts, **both, **options),
    ):
        assert [rounded(ranking) for ranking in many] == [rounded(one), rounded(other)]


def rounded(ranking: list[RankedDocument]) -> list[tuple[int, float, float]]:
    return [
        (found.index, round(found.score or 0, 5), round(found.fused_score or 0, 4))
        for found in ranking
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fusion": "rff"}, ValueError, 'expected "rrf".*got a str'),
        ({"fusion": True}, ValueError, "got a bool"),
        ({"fusion": "0.5"}, ValueError, "got a str"),
        ({"fusion": 1.1}, ValueError, "from 0 to 1, or None, got 1.1"),
        ({"fusion": math.nan}, ValueError, "from 0 to 1"),
        ({"retriever_scores": SCORES}, ConfigurationError, "no effect without fusion"),
        ({"fusion": "rrf", "retriever_scores": SCORES[:3]}, ValueError, "3 retriever_scores for 4"),
        ({"fusion": 1, "retriever_scores": [1, 2, math.nan, 4]}, ValueError, "document 2 is nan"),
        ({"fusion": 1, "retriever_scores": [1, -math.inf, 3, 4]}, ValueError, "document 1 is -inf"),
        ({"fusion": 1, "retriever_scores": [1, 2, "3", 4]}, TypeError, "document 2 is '3'"),
        ({"fusion": 1, "retriever_scores": [1, True, 3, 4]}, TypeError, "document 1 is True"),
        ({"fusion": 1, "retriever_scores": "1234"}, TypeError, "list of numbers, got str"),
        ({"top_k": True}, ValueError, "expected a number, got a bool"),
        ({"top_k": "2"}, ValueError, "expected a number, got a str"),
        ({"min_docs": "1"}, ValueError, "expected a number, got a str"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_scored(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    reranker = Reranker("no/such-model", local_files_only=True)
    with pytest.raises(error, match=message):
        reranker.rerank(QUERY, DOCUMENTS, **options)


def test_lists_of_many_queries_are_counted() -> None:
    with pytest.raises(ValueError, match="got 1 lists of retriever_scores for 2 queries"):
        Reranker("tiny").rerank_many(["a", "b"], [["c"], ["d"]], fusion=1, retriever_scores=[[1]])


def test_scores_may_be_numbers_of_any_kind() -> None:
    found = checked_scores([np.float32(0.5), 2, None, np.float64(1)], 4)
    assert found == [0.5, 2.0, None, 1.0]
    assert {type(score) for score in found} == {float, type(None)}


def test_documents_that_could_not_be_scored_have_no_fused_score() -> None:
    class Failing:
        def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
            raise ConnectionError

    reranker = Reranker(scorer=Failing(), on_error="passthrough")
    (found,) = reranker.rerank("q", ["d"], fusion="rrf", retriever_scores=[1], mmr=0.5)
    assert (found.score, found.fused_score) == (None, None)
