"""A key is sent where it belongs and nowhere else, and nothing that is shown ever holds it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from support.remote_cases import Connect, Serve
from support.remote_oracle import Oracle
from support.rerank_server import Answer, Fault, Mishap, RerankServer, Seen
from support.served_gateways import LiteLLM
from support.served_hosted import MODEL, SiliconFlow
from support.served_vllm import VllmPooling
from tenacity import wait_random_exponential

from shared_core import Reranker, RerankError, ServerStatusError
from shared_core.scorers.remote import http

KEY = 'sk-"4f/9\\a2+b=?-' + "x7" * 30  # with what JSON, Python and addresses escape
HEADER = "tenant-secret-55d1"
STATUSES = (301, 401, 413, 429)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_BACKOFF", wait_random_exponential(multiplier=0.001, max=0.01))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that this library and httpx log, with tracebacks, down to the last detail."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in LOGGERS]
    for logger, _ in before:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield written
    for logger, level in before:
        logger.removeHandler(handler)
        logger.setLevel(level)


LOGGERS = ("qwen3_rerank", "httpx", "asyncio")


def echo(seen: Seen) -> str:
    """What a careless server says of a request, its secrets among it."""
    return f"invalid key {seen.headers['authorization']} of {seen.headers['x-tenant']}"


def echoing(status: int, shape: str) -> Fault:
    """An error of this status that repeats the secrets in its body and headers."""

    def fault(seen: Seen, answer: Answer) -> Mishap:
        words = echo(seen)
        headers = {
            "x-request-id": seen.headers["authorization"],
            "location": f"/login?{words}",
            "retry-after": "0",
        }
        bodies: dict[str, object] = {
            "message": {"error": {"message": words, "type": words, "code": words}},
            "detail": {"detail": [{"loc": [words], "msg": words}]},
            "string": words,
            "names": {words: {words: words}},
            "long": {"message": "x" * 480 + words},
            "text": words.encode(),
            "long text": ("y" * 485 + " " + words).encode(),
            "page": f"<html><title>{words}</title></html>".encode(),
            "cut page": f"<html><title>{'z' * 470}{words}</title></html>".encode(),
            "half a JSON": json.dumps({"message": words}).encode()[:-1],
            "a score": [{"index": 0, "score": words, "relevance_score": words, "probs": [words]}],
            "a row": {"results": [{words: 1, "index": words}]},
            "a name": {words + "z" * 60: words},
            "a list": {"results": words, "message": words},
        }
        return Answer(bodies[shape], status, headers)

    fault(Seen("POST", "/", {"authorization": "", "x-tenant": ""}), Answer())  # the shape is known
    return fault


SHAPES = (
    "message", "detail", "string", "names", "long", "text", "long text", "page", "cut page",
    "half a JSON", "a score", "a row", "a name", "a list",
)  # fmt: skip


def assert_hidden(text: str) -> None:
    """Neither a secret nor the beginning of one is in a text, however it is escaped there."""
    for secret in (KEY, HEADER):
        for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
            assert form[:10] not in text


def everything(error: BaseException) -> str:
    shown = [str(error), repr(error), repr(vars(error)), repr(error.args)]
    shown += traceback.format_exception(error)
    return "\n".join(shown)


@pytest.fixture
def secretive(serve: Serve, connect: Connect, oracle: Oracle) -> tuple[RerankServer, Reranker]:
    server = serve(VllmPooling(oracle, key=KEY))
    reranker = connect(server, api_key=KEY, headers={"X-Tenant": HEADER}, max_retries=1)
    reranker.score("q", ["a"])
    return server, reranker


@pytest.mark.parametrize("shape", SHAPES)
def test_no_error_holds_a_secret_that_the_server_repeats(
    shape: str, secretive: tuple[RerankServer, Reranker], log: io.StringIO
) -> None:
    server, reranker = secretive
    for status in (200, *STATUSES):
        server.fault = echoing(status, shape)
        with pytest.raises(RerankError) as caught:
            reranker.score("q", ["a", "b"])
        assert_hidden(everything(caught.value))
    with pytest.raises(RerankError) as caught:
        asyncio.run(reranker.ascore("q", ["a", "b"]))
    assert_hidden(everything(caught.value))
    assert_hidden(log.getvalue())
    assert "attempt 1 failed" in log.getvalue()


def test_the_request_id_and_the_rest_of_the_words_stay(
    secretive: tuple[RerankServer, Reranker],
) -> None:
    server, reranker = secretive
    server.fault = echoing(400, "message")
    with pytest.raises(ServerStatusError, match=r"invalid key Bearer \*\*\* of \*\*\*") as caught:
        reranker.score("q", ["a"])
    assert caught.value.request_id == "Bearer ***"


@pytest.mark.parametrize("shape", SHAPES)
def test_finding_out_about_a_server_shows_no_secret(
    shape: str, serve: Serve, connect: Connect, oracle: Oracle, log: io.StringIO
) -> None:
    """The probe of the template fails; and so does every page of a server that is asked."""
    server = serve(LiteLLM(oracle))
    for status in (200, 400, 503):
        server.fault = echoing(status, shape)
        options = {"api_key": KEY, "headers": {"x-tenant": HEADER}, "max_retries": 1}
        with pytest.raises(RerankError) as caught:
            connect(server, **options).score("q", ["a"])
        assert_hidden(everything(caught.value))
    assert_hidden(log.getvalue())


class Echo:
    """A server that names everything after the key, its models too."""

    def answer(self, seen: Seen) -> Answer:
        words = echo(seen)
        if seen.path == "/v1/models":
            return Answer({"data": [{"id": words, "owned_by": "vllm", "root": words}]})
        if seen.path == "/version":
            return Answer({"version": words})
        return Answer({"detail": words}, 405)


def test_the_names_that_a_server_gives_show_no_secret(serve: Serve, connect: Connect) -> None:
    options = {"api_key": KEY, "headers": {"x-tenant": HEADER}}
    with pytest.raises(RerankError, match="does not serve") as caught:
        connect(serve(Echo()), **options).score("q", ["a"])
    assert_hidden(everything(caught.value))


def test_nothing_that_is_shown_of_a_reranker_holds_a_secret() -> None:
    reranker = Reranker(base_url="http://localhost:1", api_key=KEY, headers={"x-tenant": HEADER})
    assert_hidden(repr(reranker) + str(reranker))
    assert_hidden(repr(reranker._options) + str(reranker._options))
    assert_hidden(json.dumps(reranker._options.model_dump(mode="json", exclude={"instruction"})))


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": [KEY]},
        {"api_key": f"{KEY}\n{KEY}ü"},
        {"headers": {"x-tenant": f"{HEADER}\r\nx: y"}},
        {"base_url": f"https://user:{HEADER}@example.com"},
        {"timeout": KEY},
    ],
)
def test_an_option_that_is_refused_is_not_shown(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Reranker(**({"base_url": "http://localhost:1"} | options))
    assert_hidden(everything(caught.value))


def test_a_passed_through_ranking_and_its_warning_hold_no_secret(
    serve: Serve, connect: Connect, oracle: Oracle, log: io.StringIO
) -> None:
    server = serve(VllmPooling(oracle))
    server.fault = echoing(400, "message")
    options = {"api_key": KEY, "headers": {"x-tenant": HEADER}}
    ranked = connect(server, on_error="passthrough", **options).rerank(
        "q", ["b", "a", "c"], top_k=2
    )
    assert [one.document for one in ranked] == ["b", "a"]
    assert all(one.score is None and "answered 400" in str(one.error) for one in ranked)
    assert "passing 3 documents through unscored" in log.getvalue()
    assert_hidden(log.getvalue() + repr(ranked))


def sent_by(server: RerankServer, reranker: Reranker) -> set[str | None]:
    reranker.score("q", ["a"])
    return {seen.headers.get("authorization") for seen in server.seen}


def test_the_key_of_the_argument_comes_before_that_of_the_environment(
    serve: Serve, connect: Connect, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(VllmPooling(oracle))
    assert sent_by(server, connect(server)) == {None}
    monkeypatch.setenv("QWEN3_RERANK_API_KEY", " from-environment ")
    server.seen.clear()
    assert sent_by(server, connect(server)) == {"Bearer from-environment"}
    server.seen.clear()
    assert sent_by(server, connect(server, api_key="mine")) == {"Bearer mine"}
    server.seen.clear()
    own = connect(server, api_key="mine", headers={"Authorization": "Token t", "X-A": "b"})
    assert sent_by(server, own) == {"Token t"}
    assert {seen.headers["x-a"] for seen in server.seen} == {"b"}


def test_a_vendors_key_stays_with_the_vendor(
    serve: Serve, connect: Connect, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SILICONFLOW_API_KEY", KEY)
    server = serve(SiliconFlow(oracle))
    assert sent_by(server, connect(server, dialect="siliconflow", model=MODEL)) == {None}
    keyed = connect(serve(SiliconFlow(oracle, key=KEY)), dialect="siliconflow", model=MODEL)
    with pytest.raises(ServerStatusError, match="401: Invalid token"):
        keyed.score("q", ["a"])
