"""`max_candidates`: the first documents are scored and ranked; the others follow, unscored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core import RankedDocument, Reranker, RerankError


class Margins:
    """A backend whose margin is the number that a document is; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.asked += documents
        return [float(document) for document in documents]


class Refusing:
    """A backend that is out of order."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        raise RerankError("out of order")


def indices(ranking: Sequence[RankedDocument]) -> list[int]:
    return [found.index for found in ranking]


orders = st.fixed_dictionaries(
    {}, optional={"mmr": st.sampled_from([0.3, 1.0]), "fusion": st.sampled_from(["rrf", 0.4])}
)


@given(st.permutations(range(-4, 5)), st.integers(1, 12), orders, st.data())
def test_it_is_the_ranking_of_the_first_with_the_others_behind(
    numbers: list[int], most: int, options: dict[str, Any], data: st.DataObject
) -> None:
    documents = list(map(str, numbers))
    known: dict[str, Any] = {}
    if "fusion" in options:
        known["retriever_scores"] = data.draw(st.permutations(range(len(documents))))
    if "mmr" in options:
        known["embeddings"] = [[number, 1.0] for number in numbers]
    scorer = Margins()
    ranking = Reranker(scorer=scorer).rerank(
        "q", documents, max_candidates=most, **options, **known
    )
    assert scorer.asked == documents[:most]
    first = {name: values[:most] for name, values in known.items()}
    alone = Reranker(scorer=Margins()).rerank("q", documents[:most], **options, **first)
    assert ranking[:most] == alone
    assert ranking[most:] == [
        RankedDocument(index, None, None, documents[index]) for index in range(most, len(documents))
    ]
    assert [found.scored for found in ranking] == [place < most for place in range(len(documents))]


def test_copies_of_a_candidate_count_once_and_have_its_score() -> None:
    scorer = Margins()
    ranking = Reranker(scorer=scorer).rerank(
        "q", ["1", "1", "5", "3", "1", "3", "5"], max_candidates=2
    )
    assert scorer.asked == ["1", "5"]
    assert indices(ranking) == [2, 6, 0, 1, 4, 3, 5]
    assert [found.logit for found in ranking] == [5, 5, 1, 1, 1, None, None]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [1, 0, 2]),
        ({"score_threshold": 0.5}, [1]),  # nothing shows that the others reach it
        ({"score_threshold": 0.0}, [1, 0]),
        ({"score_threshold": 0.5, "min_docs": 2}, [1, 0]),
        ({"score_threshold": 0.5, "min_docs": 3}, [1, 0, 2]),
        ({"score_threshold": 0.5, "min_docs": 3, "top_k": 3}, [1, 0, 2]),
        ({"score_threshold": 0.5, "min_docs": 9}, [1, 0, 2, 3]),
        ({"mmr": 0.5, "top_k": 3}, [1, 0, 2]),
        ({"fusion": 1.0, "top_k": 3}, [0, 1, 2]),
    ],
)
async def test_what_is_kept(options: dict[str, Any], expected: list[int]) -> None:
    reranker = Reranker(scorer=Margins())
    documents = ["-1", "1", "9", "8"]
    ranking = reranker.rerank("q", documents, max_candidates=2, **options)
    assert indices(ranking) == expected
    assert await reranker.arerank("q", documents, max_candidates=2, **options) == ranking
    many = reranker.rerank_many(["q", "r"], [documents, []], max_candidates=2, **options)
    assert many == [ranking, []]


def test_what_the_cache_has_counts_like_the_others() -> None:
    scorer = Margins()
    reranker = Reranker(scorer=scorer, cache_size=9)
    reranker.score("q", ["3", "9"])
    ranking = reranker.rerank("q", ["1", "3", "2", "9"], max_candidates=2)
    assert scorer.asked == ["3", "9", "1"]
    assert [found.logit for found in ranking] == [3, 1, None, None]


def test_windows_are_cut_of_candidates_alone() -> None:
    class Words:
        """Scores 0, and counts a token per word."""

        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            asked.extend(documents)
            return [0.0] * len(documents)

        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [len(text.split()) for text in texts]

    asked: list[str] = []
    long = " ".join(f"Ice number {number} is cold." for number in range(20))
    reranker = Reranker(
        scorer=Words(), long_documents="windows", window_tokens=16, window_overlap=0
    )
    ranking = reranker.rerank("q", [long, "b " + long], max_candidates=1, return_window=True)
    assert len(asked) > 1
    assert not any(text.startswith("b ") for text in asked)
    assert [found.window is None for found in ranking] == [False, True]
    assert ranking[1].document == "b " + long


def test_a_failure_passes_all_through_in_their_order() -> None:
    reranker = Reranker(scorer=Refusing(), on_error="passthrough")
    ranking = reranker.rerank("q", ["1", "2", "3"], max_candidates=1)
    assert indices(ranking) == [0, 1, 2]
    assert not any(found.scored for found in ranking)
    assert all(found.error for found in ranking)


@pytest.mark.parametrize("value", [0, -1, True, "5", 1.5])
def test_what_is_no_number_of_documents_is_refused(value: Any) -> None:
    scorer = Margins()
    with pytest.raises(ValueError, match="max_candidates"):
        Reranker(scorer=scorer).rerank("q", ["1"], max_candidates=value)
    assert not scorer.asked
