"""Maximal marginal relevance, by words and by embeddings."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core import ConfigurationError, RankingOptions, Reranker, RerankerOptions
from shared_core.backend.ranker import Ranker
from shared_core.backend.running import Runner
from shared_core.diversity import by_embeddings, by_words, checked_embeddings, diversified
from shared_core.scoring import RankRequest, Retrieved
from shared_core.steps import arun

vectors = st.lists(st.tuples(*[st.floats(-9, 9)] * 3), min_size=1, max_size=9)


class Margins:
    """A backend whose margin is the number that a document starts with."""

    def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
        return [float(document.split()[0]) for document in documents]


def unit(rows: Any) -> np.ndarray[Any, Any]:
    rows = np.array(rows, dtype=float)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


@given(vectors, st.floats(0, 1), st.data())
def test_every_next_document_is_the_best_by_the_published_formula(
    rows: list[Any], weight: float, data: st.DataObject
) -> None:
    relevance = data.draw(st.lists(st.floats(0, 1), min_size=len(rows), max_size=len(rows)))
    similarity = by_embeddings(checked_embeddings(rows, len(rows)))
    order = range(len(rows))
    found = diversified(order, relevance, similarity, weight=weight, top_k=None)
    assert sorted(found) == list(order)
    assert diversified(order, relevance, similarity, weight=weight, top_k=2) == found[:2]
    cosines = unit(rows) @ unit(rows).T
    for step in range(len(rows)):
        chosen, left = found[:step], found[step:]
        values = [
            weight * relevance[place]
            - (1 - weight) * max((cosines[place, before] for before in chosen), default=0.0)
            for place in left
        ]
        assert values[0] == pytest.approx(max(values), abs=1e-9)


def test_worked_out_by_hand() -> None:
    rows = [[1, 0], [1, 0], [0, 1], [1, 1]]
    relevance = [0.9, 0.85, 0.6, 0.5]
    similarity = by_embeddings(checked_embeddings(rows, 4))
    for weight, order in (
        (1.0, [0, 1, 2, 3]),
        # After 0: 1 has 0.5·0.85 − 0.5·1 = −0.075, 2 has 0.3, 3 has 0.25 − 0.354 = −0.104.
        (0.5, [0, 2, 1, 3]),
        # After 0: 1 has −0.63, 2 has 0.12, 3 −0.466; then 3 and 1 as they are.
        (0.2, [0, 2, 3, 1]),
    ):
        assert diversified(range(4), relevance, similarity, weight=weight, top_k=None) == order


def test_a_copy_comes_later_and_scores_stay() -> None:
    documents = ["2 the red fox", "1.9 the red fox", "1 a blue whale", "-3 green tea"]
    reranker = Reranker(scorer=Margins())
    plain = {found.index: found for found in reranker.rerank("q", documents)}
    ranking = reranker.rerank("q", documents, mmr=0.5)
    assert [found.index for found in ranking] == [0, 2, 1, 3]
    assert all(found == plain[found.index] for found in ranking)
    assert [found.index for found in reranker.rerank("q", documents, mmr=0.5, top_k=2)] == [0, 2]
    kept = reranker.rerank("q", documents, mmr=0.5, score_threshold=0.5)
    assert [found.index for found in kept] == [0, 2, 1]


def test_words_are_compared_in_scripts_without_spaces() -> None:
    texts = ["水星的表面温度很高", "水星的表面温度", "金星没有卫星", "Mercury is hot"]
    similarity = by_words(texts)
    assert similarity(0, 0) == 1.0
    assert similarity(0, 1) > 0.7 > similarity(0, 2)
    assert similarity(0, 3) == by_words(["", "a"])(0, 1) == 0.0


def test_relevance_is_the_fused_value_where_there_is_one() -> None:
    documents = ["9 x", "8 x", "7 y"]
    # Fused values 1, 0.5, 0 after scaling; the copy of the best loses 0.5 of its 0.25.
    ranking = Reranker(scorer=Margins()).rerank(
        "q", documents, fusion=1.0, retriever_scores=[1, 2, 3], mmr=0.5, embeddings=[[1], [1], [1]]
    )
    assert [found.index for found in ranking] == [2, 1, 0]
    ranking = Reranker(scorer=Margins()).rerank(
        "q",
        documents,
        fusion=1.0,
        retriever_scores=[1, 2, 3],
        mmr=0.4,
        embeddings=[[0, 1], [1, 0], [1, 0]],
    )
    assert [found.index for found in ranking] == [2, 0, 1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mmr": 1.5}, ValueError, "less than or equal to 1"),
        ({"mmr": True}, ValueError, "expected a number, got a bool"),
        ({"embeddings": [[1.0]] * 2}, ConfigurationError, "embeddings has no effect without mmr"),
        ({"mmr": 0.5, "embeddings": [[1.0]]}, ValueError, "got 1 embeddings for 2 documents"),
        ({"mmr": 0.5, "embeddings": [[1.0], [1, 2]]}, ValueError, "1 and 2 dimensions"),
        ({"mmr": 0.5, "embeddings": [[1.0], [float("nan")]]}, ValueError, "document 1.*not finite"),
        ({"mmr": 0.5, "embeddings": [1.0, 2.0]}, TypeError, "document 0 is no vector"),
    ],
)
def test_what_is_wrong_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Reranker("no/such-model", local_files_only=True).rerank("q", ["a", "b"], **options)


async def test_documents_are_not_compared_on_the_event_loop() -> None:
    threads = set()

    class Vector(list[float]):
        """Tells who multiplies it; `checked_embeddings` would make a plain list of it."""

        def __iter__(self) -> Any:
            threads.add(threading.current_thread())
            return super().__iter__()

    request = RankRequest("q", "i", ["1 a", "2 b"], Retrieved(None, [Vector([1.0]), Vector([0.0])]))
    runner = Runner(RerankerOptions(), Margins())
    await arun(Ranker(runner).ranking([request], RankingOptions(mmr=0.5), None))
    assert threads
    assert threading.main_thread() not in threads
    runner.close()
