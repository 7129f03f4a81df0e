"""`time_budget` and `X-Time-Budget` over HTTP: what was not reached follows, and waiting counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.services import Run

from shared_core import Reranker, pacing

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Venus.", "Mars is red.", "Ice is cold.", "Mars is known as the Red Planet.", "Rust."]
REACHED = [True] * pacing.FIRST + [False]


@pytest.mark.parametrize(
    ("path", "body", "results", "scores"),
    [
        ("/rerank", {"documents": DOCUMENTS}, "results", ["score", "relevance_score", "logit"]),
        ("/rerank", {"texts": DOCUMENTS}, None, ["score"]),
        ("/v1/rerank", {"documents": DOCUMENTS}, "results", ["relevance_score", "logit"]),
        ("/v2/rerank", {"documents": DOCUMENTS}, "results", ["relevance_score"]),
        ("/api/predict", {"documents": DOCUMENTS}, "result", ["score"]),
    ],
)
def test_one_pack_is_scored_and_the_rest_says_that_it_is_not(
    client: httpx.Client, path: str, body: Any, results: Any, scores: Any
) -> None:
    body = {"query": QUERY, **body}
    by_field = client.post(path, json={**body, "time_budget": 1e-9}).json()
    by_header = client.post(path, json=body, headers={"X-Time-Budget": "0.000000001"}).json()
    both = client.post(
        path, json={**body, "time_budget": 1e-9}, headers={"X-Time-Budget": "1000"}
    ).json()
    for reply in (by_field, by_header, both):
        rows = reply[results] if results else reply
        assert [row.get("scored", True) for row in rows] == REACHED
        for name in scores:
            assert [row[name] is not None for row in rows] == REACHED
    whole = client.post(path, json=body, headers={"X-Time-Budget": "1000"}).json()
    rows = whole[results] if results else whole
    assert not any("scored" in row for row in rows)


def test_a_batch_shares_its_budget(client: httpx.Client) -> None:
    body = {"queries": ["Ice?", "Mars?"], "documents_batch": [DOCUMENTS, DOCUMENTS[:3]]}
    reply = client.post("/rerank/batch", json={**body, "time_budget": 1e-9}).json()
    assert [[row.get("scored", True) for row in rows] for rows in reply["results"]] == [
        [True, True, False, False, False],
        [True, True, False],
    ]
    assert reply["usage"]["prompt_tokens"] == sum(
        row["n_tokens"] for rows in reply["results"] for row in rows if row.get("scored", True)
    )


@pytest.mark.parametrize("header", ["soon", "0", "-1", "nan", "inf", "", "1_0"])
def test_what_is_no_time_is_refused(client: httpx.Client, header: str) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS}
    reply = client.post("/rerank", json=body, headers={"X-Time-Budget": header})
    assert reply.status_code == 422
    assert "X-Time-Budget" in reply.text
    refused = client.post("/rerank", json={**body, "time_budget": -1})
    assert refused.status_code == 422
    assert "time_budget" in refused.text


def test_waiting_in_the_queue_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of the test's, which goes on while another request is being scored."""
    now = [0.0]
    monkeypatch.setattr(pacing, "monotonic", lambda: now[0])
    started, go_on = threading.Event(), threading.Event()

    class Held:
        """Holds up the request that says so."""

        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            if query == "held":
                started.set()
                assert go_on.wait(60)
            return [0.0] * len(documents)

    service = run(Reranker(scorer=Held()))
    url = f"{service.url}/rerank"
    documents = list(map(str, range(30)))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(
            httpx.post, url, json={"query": "held", "documents": ["1"]}, timeout=60
        )
        assert started.wait(60)
        second = threads.submit(
            httpx.post,
            url,
            json={"query": "q", "documents": documents, "time_budget": 50},
            timeout=60,
        )
        queued = service.service.metrics.queued_requests
        while queued._value.get() < 2:  # prometheus_client has no other way
            time.sleep(0.005)
        now[0] = 100.0
        go_on.set()
        rows = second.result().json()["results"]
        assert first.result().status_code == 200
    assert sum(row.get("scored", True) for row in rows) == pacing.FIRST
    alone = httpx.post(url, json={"query": "q", "documents": documents, "time_budget": 50})
    assert all(row.get("scored", True) for row in alone.json()["results"])
