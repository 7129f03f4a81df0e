"""The service in front of another server: what that one says is passed on, with its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.remote_oracle import Oracle
from support.rerank_server import Answer, Kind, RerankServer
from support.served_engines import LlamaCpp
from support.served_gateways import Infinity, LiteLLM, Xinference
from support.services import Run

from shared_core import Reranker, UnsupportedByServerError

QUERY = "Which planet is red?"
DOCUMENTS = ["Venus is hot.", "Mars looks red.", "火星是红色的。", "Mars looks red."]


@pytest.fixture(scope="module")
def oracle(checkpoint: Path) -> Oracle:
    return Oracle(checkpoint)


class Gateway:
    """A service, the server behind it, and a client of the service."""

    def __init__(self, server: RerankServer, url: str) -> None:
        self.server = server
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=30)

    def post(self, **body: Any) -> httpx.Response:
        texts = {"query": QUERY, "documents": DOCUMENTS}
        return self.client.post("/v1/rerank", json=texts | body)


@pytest.fixture
def gateway(run: Run) -> Iterator[Any]:
    """Start a service in front of a server of some kind."""
    with ExitStack() as stack:

        def start(kind: Kind, **options: Any) -> Gateway:
            server = stack.enter_context(RerankServer(kind))
            behind = {"base_url": server.url, "max_retries": 0} | options
            reranker = stack.enter_context(Reranker("reranker", **behind))
            made = Gateway(server, run(reranker, **behind).url)
            stack.callback(made.client.close)
            return made

        yield start


def test_token_counts_are_passed_on(gateway: Any, oracle: Oracle, reranker: Reranker) -> None:
    """Those of the server, which counts once what it was sent once."""
    reply = gateway(LlamaCpp(oracle)).post().json()
    direct = reranker.rerank(QUERY, list(dict.fromkeys(DOCUMENTS)))
    assert reply["usage"]["prompt_tokens"] == sum(one.n_tokens or 0 for one in direct)
    assert [row["n_tokens"] for row in reply["results"]] == [None] * 4  # not said by document


def test_counts_of_many_requests_are_added(gateway: Any, oracle: Oracle) -> None:
    """A query's documents go in several requests, and each of those has its own count."""
    behind = gateway(LlamaCpp(oracle), dialect="llamacpp")
    documents = [f"document {number}" for number in range(300)]
    reply = behind.post(documents=documents).json()
    assert len(behind.server.posts) > 1
    prompts = [oracle.prompt(None, QUERY, document) for document in documents]
    assert reply["usage"]["prompt_tokens"] == sum(map(len, prompts))


def test_scores_of_the_cache_are_not_counted_twice(gateway: Any, oracle: Oracle) -> None:
    """A count that was of other documents, too, is not given for these."""
    behind = gateway(LlamaCpp(oracle), cache_size=100)
    assert "usage" in behind.post().json()
    n_sent = len(behind.server.posts)
    assert "usage" not in behind.post(documents=DOCUMENTS[:2]).json()
    assert len(behind.server.posts) == n_sent


@pytest.mark.parametrize(
    "kind", [LlamaCpp, partial(Xinference, engine="vllm")], ids=["ignores", "fails"]
)
def test_an_instruction_that_the_server_cannot_take_is_refused(
    gateway: Any, oracle: Oracle, kind: Any
) -> None:
    """Be it that the server would ignore it, or that it answers 500 to it."""
    behind = gateway(kind(oracle))
    n_sent = len(behind.server.posts)
    reply = behind.post(instruction="Find poems")
    assert reply.status_code == 422
    assert "takes no instruction" in reply.json()["detail"]
    assert len(behind.server.posts) == n_sent
    assert behind.post().status_code == 200
    with Reranker(base_url=behind.url) as client, pytest.raises(UnsupportedByServerError):
        client.rerank(QUERY, DOCUMENTS, instruction="Find poems")
    assert behind.client.get("/health").json()["takes_instruction"] is False


def test_an_instruction_that_the_server_takes_is_passed_on(
    gateway: Any, oracle: Oracle, reranker: Reranker
) -> None:
    behind = gateway(Xinference(oracle))
    rows = behind.post(instruction="Find poems").json()["results"]
    expected = reranker.rerank(QUERY, DOCUMENTS, instruction="Find poems")
    assert [row["index"] for row in rows] == [one.index for one in expected]


def test_characters_are_not_passed_on_as_tokens(gateway: Any, oracle: Oracle) -> None:
    behind = gateway(Infinity(oracle, templated=True), template="server-fixed")
    assert "usage" not in behind.post().json()


@pytest.mark.parametrize(
    ("status", "headers", "expected", "wait"),
    [
        (400, {}, 422, None),
        (422, {}, 422, None),
        (429, {"Retry-After": "7"}, 429, "7"),
        (429, {}, 429, "1"),
        (503, {"Retry-After": "0.2"}, 503, "1"),
        (401, {}, 502, None),
        (500, {}, 502, None),
    ],
)
def test_a_refusal_keeps_its_meaning(
    gateway: Any,
    oracle: Oracle,
    status: int,
    headers: dict[str, str],
    expected: int,
    wait: str | None,
) -> None:
    """Texts that are refused, and a server that is busy, are not called a broken server."""
    behind = gateway(LiteLLM(oracle), dialect="litellm", template="server")
    behind.server.fault = lambda _seen, _answer: Answer({"error": "its words"}, status, headers)
    reply = behind.post(documents=["a"])
    assert (reply.status_code, reply.headers.get("retry-after")) == (expected, wait)
    assert "its words" in reply.json()["detail"]
