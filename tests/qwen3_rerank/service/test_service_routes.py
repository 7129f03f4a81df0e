"""Each route answers what its clients read, with the direct reranker's scores."""

from __future__ import annotations

import json
import logging
import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.services import Run

from qwen3_rerank.page import is_installed
from qwen3_rerank.service.docs_page import docs_page
from shared_core import Reranker
from shared_core.ranking import sigmoid

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = [
    "Venus is hot.",
    "Mars looks red.",
    "",
    "火星是红色的。",
    "Mars looks red.",
    "a" * 5000,
]


def close(score: float) -> Any:
    """Packs of another make-up round differently."""
    return pytest.approx(score, abs=2e-6)


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_plain(client: httpx.Client, reranker: Reranker, slash: str) -> None:
    reply = post(client, f"/rerank{slash}", query=QUERY, documents=DOCUMENTS)
    direct = reranker.rerank(QUERY, DOCUMENTS)
    assert [row["index"] for row in reply["results"]] == [one.index for one in direct]
    for row, one in zip(reply["results"], direct, strict=True):
        assert row == {
            "index": one.index,
            "document": one.document,
            "score": close(one.score),
            "relevance_score": close(one.score),
            "logit": pytest.approx(one.logit, abs=1e-5),
            "n_tokens": one.n_tokens,
            "truncated": one.truncated,
        }
    assert reply["usage"]["prompt_tokens"] == sum(one.n_tokens for one in direct)


@pytest.mark.parametrize("name", ["instruction", "instruct"])
def test_the_instruction_has_two_names(client: httpx.Client, reranker: Reranker, name: str) -> None:
    reply = post(client, "/v1/rerank", query=QUERY, documents=DOCUMENTS, **{name: "Find poems"})
    direct = reranker.rerank(QUERY, DOCUMENTS, instruction="Find poems")
    scores = [row["relevance_score"] for row in reply["results"]]
    assert scores == [close(one.score) for one in direct]
    assert scores != [close(one.score) for one in reranker.rerank(QUERY, DOCUMENTS)]


def test_vllm_s_way_of_giving_the_instruction(client: httpx.Client) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS}
    given = post(client, "/v1/rerank", **body, chat_template_kwargs={"instruction": "Find poems"})
    assert given["results"] == post(client, "/v1/rerank", **body, instruct="Find poems")["results"]


def test_v1(client: httpx.Client, reranker: Reranker) -> None:
    objects = [{"text": text, "id": 7} for text in DOCUMENTS]
    reply = post(client, "/v1/rerank", model="any", query=QUERY, documents=objects, top_n=2)
    best = reranker.rerank(QUERY, DOCUMENTS, top_k=2)
    assert [row["document"] for row in reply["results"]] == [{"text": one.document} for one in best]
    assert [row["relevance_score"] for row in reply["results"]] == [close(x.score) for x in best]
    tokens = sum(one.n_tokens or 0 for one in reranker.rerank(QUERY, DOCUMENTS))
    assert reply["usage"]["total_tokens"] == reply["meta"]["tokens"]["input_tokens"] == tokens
    assert reply["model"] == client.get("/health").json()["model"]
    without = post(
        client, "/v1/rerank", query=QUERY, documents=DOCUMENTS, return_documents=False, top_n=0
    )
    assert len(without["results"]) == len(DOCUMENTS)
    assert all("document" not in row for row in without["results"])


def test_v2_repeats_documents_only_if_asked(client: httpx.Client, reranker: Reranker) -> None:
    body = {"model": "rerank-v3.5", "query": QUERY, "documents": DOCUMENTS, "top_n": None}
    assert all("document" not in row for row in post(client, "/v2/rerank", **body)["results"])
    asked = post(client, "/v2/rerank", **body, return_documents=True)
    assert [
        (row["index"], row["document"]["text"], row["relevance_score"]) for row in asked["results"]
    ] == [(x.index, x.document, close(x.score)) for x in reranker.rerank(QUERY, DOCUMENTS)]


def test_tei(client: httpx.Client, reranker: Reranker) -> None:
    reply = post(client, "/rerank", query=QUERY, texts=DOCUMENTS, return_text=True)
    direct = reranker.rerank(QUERY, DOCUMENTS)
    assert reply == [
        {"index": one.index, "score": close(one.score), "text": one.document} for one in direct
    ]
    raw = post(client, "/rerank", query=QUERY, texts=DOCUMENTS[:5], raw_scores=True, truncate=False)
    direct = reranker.rerank(QUERY, DOCUMENTS[:5])
    assert [row["score"] for row in raw] == [pytest.approx(x.logit, abs=1e-5) for x in direct]
    assert set(raw[0]) == {"index", "score"}


def test_tei_may_refuse_to_cut(client: httpx.Client) -> None:
    body = {"query": QUERY, "texts": ["word " * 500]}
    assert len(post(client, "/rerank", **body)) == 1
    reply = client.post("/rerank", json=body | {"truncate": False})
    assert reply.status_code == 422
    assert reply.json()["error_type"] == "Validation"


def test_batch(client: httpx.Client, reranker: Reranker) -> None:
    queries, lists = [QUERY, "other", "third"], [DOCUMENTS, ["b", "a"], []]
    reply = post(client, "/rerank/batch", queries=queries, documents_batch=lists, top_k=2)
    direct = reranker.rerank_many(queries, lists, top_k=2)
    assert [[(row["index"], row["score"]) for row in rows] for rows in reply["results"]] == [
        [(one.index, close(one.score)) for one in ranked] for ranked in direct
    ]


def test_score_keeps_the_input_order(client: httpx.Client, reranker: Reranker) -> None:
    expected = [close(score) for score in reranker.score(QUERY, DOCUMENTS)]
    for names in (("text_1", "text_2"), ("queries", "documents"), ("query", "items")):
        reply = post(client, "/score", **{names[0]: QUERY, names[1]: DOCUMENTS})
        assert [row["score"] for row in reply["data"]] == expected
        assert [row["index"] for row in reply["data"]] == list(range(len(DOCUMENTS)))
        tokens = sum(one.n_tokens or 0 for one in reranker.rerank(QUERY, DOCUMENTS))
        assert reply["usage"]["total_tokens"] == tokens


def test_score_takes_pairs(client: httpx.Client, reranker: Reranker) -> None:
    queries = [QUERY, "other", QUERY, "third", "other", "third", QUERY]
    documents = ["a", "b", "c", "a", "a", "b", "a"]
    expected = [
        reranker.score(query, [document])[0]
        for query, document in zip(queries, documents, strict=True)
    ]
    assert len(set(expected)) == 6
    reply = post(client, "/v1/score", text_1=queries, text_2=documents)
    assert [row["score"] for row in reply["data"]] == [close(score) for score in expected]
    raw = post(client, "/score", text_1=queries, text_2=documents, use_activation=False)["data"]
    assert [sigmoid(row["score"]) for row in raw] == [close(score) for score in expected]
    bad = client.post("/score", json={"text_1": ["a", "b"], "text_2": ["c", "d", "e"]})
    assert bad.status_code == 422


def test_predict(client: httpx.Client, reranker: Reranker) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, "instruction": "Find poems"}
    direct = reranker.rerank(QUERY, DOCUMENTS, instruction="Find poems")
    assert post(client, "/api/predict", **body) == {
        "result": [{"document": one.document, "score": close(one.score)} for one in direct]
    }


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/api/predict"])
def test_threshold(client: httpx.Client, reranker: Reranker, path: str) -> None:
    """Scores of at least that are kept, lower ones are not; with ``top_n`` the best of them."""
    direct = reranker.rerank(QUERY, DOCUMENTS)
    threshold = (direct[2].score + direct[3].score) / 2
    assert direct[2].score > threshold > direct[3].score
    body = {"query": QUERY, "documents": DOCUMENTS, "score_threshold": threshold}
    name = "result" if path == "/api/predict" else "results"
    assert len(post(client, path, **body)[name]) == 3
    assert len(post(client, path, **body, top_n=2)[name]) == 2
    assert len(post(client, path, **body, top_n=4)[name]) == 3
    assert post(client, path, **body | {"score_threshold": 1})[name] == []


def test_more_may_be_asked_for_than_there_is(client: httpx.Client) -> None:
    reply = post(client, "/rerank", query=QUERY, documents=["a", "b"], top_n=10**400)
    assert len(reply["results"]) == 2


def test_no_documents_are_no_results(client: httpx.Client) -> None:
    assert post(client, "/rerank", query=QUERY, documents=[])["results"] == []
    assert post(client, "/rerank", query=QUERY, texts=[]) == []


def test_about(client: httpx.Client) -> None:
    health = client.get("/health").json()
    assert health["service"] == "qwen3-rerank"
    assert (health["max_documents"], health["status"]) == (1000, "ready")
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready/").status_code == 200
    assert client.get("/version").json()["version"] == health["version"]
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == client.get("/info").json()["model_id"] == health["model"]
    assert client.get("/info").json()["max_client_batch_size"] == 1000
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/rerank", "/v1/rerank", "/v2/rerank", "/rerank/batch", "/score"} <= set(paths)


def test_the_docs_need_nothing_from_elsewhere(client: httpx.Client) -> None:
    """And their examples are true: one for every route, and for the pages beside them."""
    page = client.get("/docs/").text
    assert "//" not in re.sub(r"curl http://\S+", "", page)
    commands = re.findall(r"<pre>curl http://localhost:8000([^<]+)</pre>", page)
    asked = {}
    for command in commands:
        path, _, rest = command.partition(" ")
        body = re.search(r"-d &#x27;(.*)&#x27;", rest, re.S)
        asked[path] = None if body is None else json.loads(unescape(body[1]))
    paths = client.get("/openapi.json").json()["paths"]
    assert set(asked) == {*paths, "/docs", "/openapi.json"} | ({"/ui"} if is_installed() else set())
    for path, body in asked.items():
        if body is not None:
            assert post(client, path, **body)
        elif path != "/ui":  # the tests of the page ask for it
            assert client.get(path).status_code == 200
    assert sum(body is not None for body in asked.values()) == 7
    # A route that has no example yet gets one that its schema takes.
    document = client.get("/openapi.json").json()
    document["paths"] = {"/new": document["paths"]["/rerank/batch"]}
    page = docs_page(document, needs_key=False, has_page=False)
    example = re.search(r"/new .*?-d &#x27;(.*?)&#x27;", page, re.S)
    assert example
    assert post(client, "/rerank/batch", **json.loads(unescape(example[1])))


def test_the_root_leads_to_what_there_is(client: httpx.Client) -> None:
    browser = client.get("/", headers={"accept": "text/html,*/*"}, follow_redirects=True)
    assert browser.url.path == "/docs"
    assert "curl" in browser.text
    found = client.get("/").json()
    assert (found["service"], found["status"]) == ("qwen3-rerank", "ready")
    for name in ("docs", "openapi.json", "health", "metrics"):
        assert client.get(found[name]).status_code == 200


def test_request_ids_come_back(client: httpx.Client) -> None:
    assert client.get("/version", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == (
        "abc-1"
    )
    for unfit in ("", "a b", "x" * 200, "a\tb"):
        given = client.get("/version", headers={"x-request-id": unfit}).headers["x-request-id"]
        assert given != unfit
        assert len(given) == 32


def test_metrics_count(client: httpx.Client) -> None:
    def value(name: str) -> float:
        for line in client.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    names = ("documents_total", "prompt_tokens_total", "truncated_documents_total")
    before = [value(f"qwen3_rerank_{name}") for name in names]
    reply = post(client, "/rerank", query=QUERY, documents=["one", "word " * 500])
    after = [value(f"qwen3_rerank_{name}") for name in names]
    tokens = reply["usage"]["prompt_tokens"]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, tokens, 1]
    # Each of them was in a batch, and each request waited for its first.
    assert value("qwen3_rerank_batch_documents_sum") == after[0]
    assert value("qwen3_rerank_batch_requests_sum") == value("qwen3_rerank_queue_seconds_count")
    text = client.get("/metrics").text
    assert 'qwen3_rerank_requests_total{method="POST",route="/rerank",status="200"}' in text
    assert value("qwen3_rerank_queue_requests") == 0
    client.get("/no/such/route")
    assert 'route="/no' not in client.get("/metrics").text


def test_it_is_ready_without_its_model_in_memory(checkpoint: Path, run: Run) -> None:
    """As after `unload_after`; the metrics tell, and the next request loads it."""
    reranker = Reranker(str(checkpoint), dtype="float32", device="cpu")
    with httpx.Client(base_url=run(reranker).url, timeout=30) as client:
        assert "qwen3_rerank_model_loaded 1.0" in client.get("/metrics").text
        reranker.unload()
        assert "qwen3_rerank_model_loaded 0.0" in client.get("/metrics").text
        assert client.get("/health/ready").json()["status"] == "ready"
        assert post(client, "/rerank", query=QUERY, documents=["one"])["results"]
        assert "qwen3_rerank_model_loaded 1.0" in client.get("/metrics").text
    reranker.close()


def test_the_audit_log_counts(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "qwen3_rerank.audit"):
        reply = post(
            client,
            "/rerank/batch",
            queries=[QUERY, "other"],
            documents_batch=[DOCUMENTS, ["word " * 500, "b"]],
        )
        post(client, "/score", text_1=QUERY, text_2=["a", "b", "c"])
    fields = [vars(record)["fields"] for record in caplog.records]
    assert [(one["path"], one["queries"], one["documents"]) for one in fields] == [
        ("/rerank/batch", 2, 8),
        ("/score", 1, 3),
    ]
    assert fields[0]["prompt_tokens"] == reply["usage"]["total_tokens"]
    cut = sum(row["truncated"] for rows in reply["results"] for row in rows)
    assert (fields[0]["truncated"], fields[1]["truncated"]) == (cut, 0)
    assert cut >= 2
    assert "texts" not in fields[0]
