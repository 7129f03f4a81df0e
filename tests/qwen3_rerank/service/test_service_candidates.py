"""`max_candidates` over HTTP: every route that ranks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared_core import Reranker

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Venus.", "Mars is red.", "Ice is cold.", "Mars is known as the Red Planet."]


@pytest.mark.parametrize(
    ("path", "body", "results", "score"),
    [
        ("/rerank", {"documents": DOCUMENTS}, "results", "score"),
        ("/rerank", {"texts": DOCUMENTS, "return_text": True}, None, "score"),
        ("/v1/rerank", {"documents": DOCUMENTS}, "results", "relevance_score"),
        ("/v2/rerank", {"documents": DOCUMENTS}, "results", "relevance_score"),
        ("/api/predict", {"documents": DOCUMENTS}, "result", "score"),
    ],
)
def test_the_others_follow_unscored_and_cost_nothing(
    client: httpx.Client, reranker: Reranker, path: str, body: Any, results: Any, score: str
) -> None:
    reply = client.post(path, json={"query": QUERY, "max_candidates": 2, **body}).json()
    rows = reply[results] if results else reply
    direct = reranker.rerank(QUERY, DOCUMENTS, max_candidates=2)
    assert [row[score] for row in rows] == [
        pytest.approx(found.score, abs=2e-6) for found in direct
    ]
    assert [row.get("scored") for row in rows] == [None, None, False, False]
    if path != "/api/predict":
        assert [row["index"] for row in rows] == [found.index for found in direct]
    if isinstance(reply, dict) and "usage" in reply:
        assert reply["usage"]["prompt_tokens"] == sum(found.n_tokens or 0 for found in direct[:2])


def test_a_batch_and_what_is_refused(client: httpx.Client, reranker: Reranker) -> None:
    body = {"queries": [QUERY, "Ice?"], "documents_batch": [DOCUMENTS, DOCUMENTS[:1]]}
    reply = client.post("/rerank/batch", json={**body, "max_candidates": 1}).json()
    assert [[row["index"] for row in rows] for rows in reply["results"]] == [[0, 1, 2, 3], [0]]
    assert [row["score"] is None for row in reply["results"][0]] == [False, True, True, True]
    refusal = client.post("/rerank/batch", json={**body, "max_candidates": 0})
    assert refusal.status_code == 422
    assert "max_candidates" in refusal.text
