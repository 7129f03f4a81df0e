"""Long documents over HTTP: every route, the service's own choice, the limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from shared_core import Reranker

QUERY = "Which planet is known as the Red Planet?"
FILLER = "Venus is hot, and its clouds are thick. " * 12
LONG = FILLER + "Mars looks red. " + FILLER
DOCUMENTS = ["Venus.", LONG, "", "火星是红色的。" * 60]
WINDOWS: dict[str, Any] = {"long_documents": "windows", "window_tokens": 48, "window_overlap": 0}


def close(score: float | None) -> Any:
    return pytest.approx(score, abs=2e-6)


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_plain_replies_have_the_span(client: httpx.Client, reranker: Reranker) -> None:
    reply = post(client, "/rerank", query=QUERY, documents=DOCUMENTS, **WINDOWS)
    direct = reranker.rerank(QUERY, DOCUMENTS, **WINDOWS)
    assert [row["index"] for row in reply["results"]] == [one.index for one in direct]
    for row, one in zip(reply["results"], direct, strict=True):
        assert row["score"] == close(one.score)
        assert row.get("window") == (None if one.window is None else list(one.window))
        assert ("window" in row) == (one.index in (1, 3))
        assert (row["document"], row["truncated"]) == (DOCUMENTS[one.index], False)
    tokens = sum(one.total_tokens or 0 for one in direct)
    assert reply["usage"]["prompt_tokens"] == tokens
    assert tokens > sum(one.n_tokens or 0 for one in direct)


@pytest.mark.parametrize(
    ("path", "body", "results", "text"),
    [
        ("/rerank", {"documents": [LONG]}, "results", ("document",)),
        ("/v1/rerank", {"documents": [LONG]}, "results", ("document", "text")),
        (
            "/v2/rerank",
            {"documents": [LONG], "return_documents": True},
            "results",
            ("document", "text"),
        ),
        ("/rerank", {"texts": [LONG], "return_text": True, "truncate": False}, None, ("text",)),
        ("/api/predict", {"documents": [LONG]}, "result", ("document",)),
    ],
)
def test_every_route_returns_the_window(
    client: httpx.Client, reranker: Reranker, path: str, body: Any, results: str, text: Any
) -> None:
    (one,) = reranker.rerank(QUERY, [LONG], **WINDOWS, return_window=True)
    reply = post(client, path, query=QUERY, **body, **WINDOWS, return_window=True)
    (row,) = reply if results is None else reply[results]
    assert row["window"] == list(one.window or ())
    for step in text:
        row = row[step]
    assert row == one.document


def test_batches_and_pairs(client: httpx.Client, reranker: Reranker) -> None:
    expected = reranker.rerank_many([QUERY, "Which is hot?"], [[LONG], ["x", LONG]], **WINDOWS)
    reply = post(
        client,
        "/rerank/batch",
        queries=[QUERY, "Which is hot?"],
        documents_batch=[[LONG], ["x", LONG]],
        **WINDOWS,
    )
    assert [[row.get("window") for row in rows] for rows in reply["results"]] == [
        [None if one.window is None else list(one.window) for one in ranked] for ranked in expected
    ]
    scores = post(client, "/score", text_1=QUERY, text_2=["x", LONG], **WINDOWS)["data"]
    assert [one["score"] for one in scores] == [
        close(score) for score in reranker.score(QUERY, ["x", LONG], **WINDOWS)
    ]
    assert ("window" in scores[0], scores[1]["window"]) == (False, reply["results"][0][0]["window"])


def test_the_service_has_a_choice_of_its_own(run: Any, reranker: Reranker) -> None:
    url = run(reranker, long_documents="windows", window_tokens=48).url
    with httpx.Client(base_url=url, timeout=30) as client:
        assert "window" in post(client, "/rerank", query=QUERY, documents=[LONG])["results"][0]
        body = {"query": QUERY, "documents": [LONG], "long_documents": "truncate"}
        (row,) = post(client, "/rerank", **body)["results"]
        assert "window" not in row
        assert row["score"] == close(reranker.score(QUERY, [LONG])[0])


def test_windows_count_as_documents(run: Any, reranker: Reranker) -> None:
    with httpx.Client(base_url=run(reranker, max_documents=8).url, timeout=30) as client:
        body = {"query": QUERY, "documents": [LONG * 2, "x"], **WINDOWS}
        reply = client.post("/rerank", json=body)
        assert reply.status_code == 422
        assert "windows of 48 tokens: this service takes 8" in reply.json()["detail"]
        assert client.post("/rerank", json=body | {"window_tokens": 200}).status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"long_documents": "split"}, "long_documents"),
        ({"window_tokens": 5}, "window_tokens"),
        ({"window_overlap": 600}, "more than half of window_tokens=1024"),
    ],
)
def test_what_cannot_be_is_refused(client: httpx.Client, options: Any, message: str) -> None:
    reply = client.post("/rerank", json={"query": QUERY, "documents": ["x"], **options})
    assert reply.status_code == 422
    assert message in reply.json()["detail"]


def test_many_clients_at_once(client: httpx.Client, reranker: Reranker) -> None:
    """Their windows share batches, and each gets its own back."""
    queries = [f"Which planet is number {number}?" for number in range(12)]

    def ask(query: str) -> Any:
        return post(client, "/rerank", query=query, documents=DOCUMENTS, **WINDOWS)["results"]

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, queries))
    for query, rows in zip(queries, found, strict=True):
        by_index = {one.index: one for one in reranker.rerank(query, DOCUMENTS, **WINDOWS)}
        for row in rows:
            assert row["score"] == close(by_index[row["index"]].score)
            assert row.get("window", []) == list(by_index[row["index"]].window or ())
