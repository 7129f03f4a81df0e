"""`fusion`, `retriever_scores` and `mmr` over HTTP: the order of the direct reranker."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from qwen3_rerank.service.app import create_app
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Cascade, ConfigurationError, Reranker

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Venus.", "Mars is red.", "Mars is red!", "Mars is known as the Red Planet.", "Rust."]
SCORES = [9.0, 1.0, None, 3.0, 7.0]


@pytest.mark.parametrize(
    ("path", "results"),
    [("/rerank", "results"), ("/v1/rerank", "results"), ("/api/predict", "result")],
)
@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "rrf", "retriever_scores": SCORES},
        {"fusion": 0.6, "retriever_scores": SCORES, "max_candidates": 4},
        {"fusion": 1},
        {"mmr": 0.4},
        {"fusion": 0.3, "retriever_scores": SCORES, "mmr": 0.5, "top_k": 3},
    ],
)
def test_the_order_is_that_of_the_direct_reranker(
    client: httpx.Client, reranker: Reranker, path: str, results: str, options: Any
) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, **options}
    rows = client.post(path, json=body).json()[results]
    direct = reranker.rerank(QUERY, DOCUMENTS, **options)
    fused = [found.fused_score for found in direct]
    assert [row.get("fused_score") for row in rows] == [
        None if value is None else pytest.approx(value, abs=1e-4) for value in fused
    ]
    assert [row.get("score") for row in rows] == [
        pytest.approx(found.score, abs=2e-6) for found in direct
    ]
    if path == "/rerank":
        assert [row["index"] for row in rows] == [found.index for found in direct]


def test_a_batch_has_scores_by_query(client: httpx.Client, reranker: Reranker) -> None:
    lists = [DOCUMENTS, DOCUMENTS[:2]]
    body = {"queries": ["Mars?", "Ice?"], "documents_batch": lists, "fusion": 0.9}
    reply = client.post("/rerank/batch", json={**body, "retriever_scores": [SCORES, None]}).json()
    direct = reranker.rerank_many(
        ["Mars?", "Ice?"], lists, fusion=0.9, retriever_scores=[SCORES, None]
    )
    assert [[row["index"] for row in rows] for rows in reply["results"]] == [
        [found.index for found in ranking] for ranking in direct
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fusion": "sum"}, "rrf"),
        ({"fusion": 2}, "from 0 to 1"),
        ({"fusion": True}, "from 0 to 1"),
        ({"mmr": 2}, "mmr"),
        ({"retriever_scores": SCORES}, "no effect without fusion"),
        ({"fusion": "rrf", "retriever_scores": [1.0]}, "1 retriever_scores for 5 documents"),
        ({"fusion": "rrf", "retriever_scores": ["a"] * 5}, "retriever_scores"),
    ],
)
def test_what_is_wrong_is_refused(client: httpx.Client, options: Any, said: str) -> None:
    reply = client.post("/rerank", json={"query": QUERY, "documents": DOCUMENTS, **options})
    assert reply.status_code == 422
    assert said in reply.text


def test_a_cascade_is_refused_since_batches_take_a_request_apart(
    tiny: Reranker, reranker: Reranker
) -> None:
    cascade = Cascade(first=tiny, second=reranker)
    for given in (cascade, Reranker(scorer=cascade)):
        with pytest.raises(ConfigurationError, match="in batches"):
            create_app(ServiceSettings(), reranker=given)
