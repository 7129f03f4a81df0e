"""Evidence over HTTP: every route that ranks."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared_core import Reranker

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Venus is hot. Mars is red. It has two moons. Ice is cold.", "Ice.", "So. Be it."]


@pytest.mark.parametrize(
    ("path", "body", "results"),
    [
        ("/rerank", {"documents": DOCUMENTS}, "results"),
        ("/rerank", {"texts": DOCUMENTS, "return_text": True}, None),
        ("/v1/rerank", {"documents": DOCUMENTS}, "results"),
        ("/v2/rerank", {"documents": DOCUMENTS}, "results"),
        ("/api/predict", {"documents": DOCUMENTS}, "result"),
    ],
)
def test_every_route_has_it(
    client: httpx.Client, reranker: Reranker, path: str, body: Any, results: Any
) -> None:
    options = {"evidence": True, "top_k": 2, "max_candidates": 2}
    reply = client.post(path, json={"query": QUERY, **options, **body}).json()
    rows = reply[results] if results else reply
    direct = reranker.rerank(QUERY, DOCUMENTS, evidence=True, top_k=2, max_candidates=2)
    for row, found in zip(rows, direct, strict=True):
        assert found.evidence is not None
        evidence = found.evidence.to_dict()
        assert row["evidence"] == evidence | {"score": pytest.approx(evidence["score"], abs=2e-6)}
    plain = client.post(path, json={"query": QUERY, **body}).json()
    assert not any("evidence" in row for row in (plain[results] if results else plain))


def test_a_batch_is_compressed_and_all_its_tokens_are_counted(
    client: httpx.Client, reranker: Reranker
) -> None:
    body = {"queries": [QUERY, "Ice?"], "documents_batch": [DOCUMENTS, DOCUMENTS[:1]]}
    plain = client.post("/rerank/batch", json=body).json()
    reply = client.post("/rerank/batch", json={**body, "compress": "evidence"}).json()
    assert reply["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]
    direct = reranker.rerank_many(body["queries"], body["documents_batch"], compress="evidence")
    assert [[row["document"] for row in rows] for rows in reply["results"]] == [
        [found.document for found in ranking] for ranking in direct
    ]
    refusal = client.post("/rerank/batch", json={**body, "compress": "all"})
    assert refusal.status_code == 422
    assert "compress" in refusal.text
