"""Clients that the tests do not install: their requests and their reading of replies, restated.

By their source code in the versions named. Clients that are installed are in
test_service_clients.py, and LiteLLM in tests/with_servers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.services import Run

from shared_core import Reranker

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot.", "Mars looks red.", "火星是红色的。", "Saturn has rings."]
N = len(DOCUMENTS)
Found = list[tuple[int, float]]


@pytest.fixture
def client(run: Run, reranker: Reranker) -> httpx.Client:
    """A connection to a service that wants a key."""
    service = run(reranker, serve_keys="a-key", max_length=300)
    headers = {"Authorization": "Bearer a-key"}
    return httpx.Client(base_url=service.url, headers=headers, timeout=30)


def results(reply: Any) -> Found:
    """RAGFlow puts each score at its index; so does Open WebUI, which sorts by it."""
    return [(row["index"], row["relevance_score"]) for row in reply["results"]]


def dify(reply: Any) -> Found:
    """It takes the text from ``document.text`` (or a string), and then rescales the scores."""
    for row in reply["results"]:
        document = row.get("document", {})
        text = document if isinstance(document, str) else document.get("text")
        assert text == DOCUMENTS[row["index"]]
    return results(reply)


def lightrag(reply: Any) -> Found:
    """It drops rows whose index is no int of the list, or whose score is no number."""
    for row in reply["results"]:
        assert type(row["index"]) is int
        assert type(row["relevance_score"]) is float
    return results(reply)


def haystack(reply: Any) -> Found:
    """It takes an error's text from ``detail``, and repeats ``model`` and ``usage``."""
    assert isinstance(reply["model"], str)
    assert reply["usage"]["total_tokens"] > 0
    return results(reply)


def tei(reply: Any) -> Found:
    """A bare list, best first."""
    return [(row["index"], row["score"]) for row in reply]


NAMED: dict[str, Any] = {"model": "qwen3-reranker"}
TEXTS = {"query": QUERY, "documents": DOCUMENTS}
OF_TEI = {"query": QUERY, "texts": DOCUMENTS, "raw_scores": False}
STRINGS = {"return_documents": "true", "return_len": "true"}
# By name: the route, the body, and the reading of the reply.
CLIENTS: dict[str, tuple[str, dict[str, Any], Callable[[Any], Found]]] = {
    "Open WebUI 0.12.4": ("/v1/rerank", TEXTS | NAMED | {"top_n": N}, results),
    "Dify, OpenAI-API-compatible (dify_plugin 0.7.4)": (
        *("/rerank", TEXTS | NAMED | {"top_n": None, "return_documents": True}),
        dify,
    ),
    "RAGFlow of 2026-08, Jina": ("/v1/rerank", TEXTS | NAMED | {"top_n": N}, results),
    "RAGFlow of 2026-08, Xinference": ("/v1/rerank", TEXTS | NAMED | STRINGS, results),
    "RAGFlow of 2026-08, HuggingFace": ("/rerank", OF_TEI | {"truncate": True}, tei),
    "LightRAG 1.5.7, jina_rerank": (
        *("/v1/rerank", TEXTS | NAMED | {"top_n": N, "return_documents": False}),
        lightrag,
    ),
    "LightRAG 1.5.7, cohere_rerank": ("/v2/rerank", TEXTS | NAMED | {"top_n": N}, lightrag),
    "Haystack, JinaRanker 2.0.1": ("/v1/rerank", TEXTS | NAMED | {"top_n": None}, haystack),
    "Haystack, HuggingFaceTEIRanker 3.1.0": (
        *("/rerank", OF_TEI | {"truncate": True, "truncation_direction": "Right"}),
        tei,
    ),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_every_score_and_the_order_are_the_model_s(
    name: str, client: httpx.Client, reranker: Reranker
) -> None:
    path, body, read = CLIENTS[name]
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    ranked = reranker.rerank(QUERY, DOCUMENTS)
    assert read(reply.json()) == [(one.index, pytest.approx(one.score, abs=2e-6)) for one in ranked]
