"""What the service refuses: clearly, in the words of the route, never with a 5xx."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError
from support.services import Running

from qwen3_rerank.service.requests import (
    BatchRequest,
    PredictRequest,
    RerankRequest,
    ScorePairsRequest,
)
from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Reranker
from shared_core.prompt import DEFAULT_INSTRUCTION

KEYS = ("first-key", "second-key")
LIMITS: dict[str, Any] = {
    "max_documents": 3,
    "max_characters": 2000,
    "max_query_characters": 900,
    "max_body_bytes": 20_000,
    "body_timeout": 0.5,
}
GOOD = {"query": "q", "documents": ["a", "b"]}
_NUMBER = re.compile('"type": "(integer|number)"')
ROUTES = ("/rerank", "/v1/rerank", "/v2/rerank")


@pytest.fixture(scope="module")
def guarded(reranker: Reranker) -> Iterator[Running]:
    """A service with keys and small limits."""
    settings = ServiceSettings(port=0, serve_keys=KEYS, max_length=300, **LIMITS)
    running = Running(make_server(settings, reranker=reranker))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(guarded: Running) -> Iterator[httpx.Client]:
    """A client that has a key."""
    headers = {"authorization": f"Bearer {KEYS[1]}"}
    with httpx.Client(base_url=guarded.url, timeout=30, headers=headers) as client:
        yield client


def message(reply: httpx.Response) -> str:
    """The words of an error, where the clients of the route look for them."""
    body = reply.json()
    if reply.request.url.path.startswith("/v2/"):
        return str(body["message"])
    if "error_type" in body:
        return str(body["error"])
    assert body["error"]["message"] == body["detail"]
    assert body["error"]["code"] == reply.status_code
    return str(body["detail"])


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first-key"},
        {"authorization": "bearer second-key"},
        {"authorization": "second-key"},
        {"x-api-key": "first-key"},
        {"authorization": "Basic " + base64.b64encode(b"anybody:first-key").decode()},
    ],
)
def test_each_key_lets_in(guarded: Running, headers: dict[str, str]) -> None:
    assert httpx.post(f"{guarded.url}/rerank", json=GOOD, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer first-ke"},
        {"authorization": "Bearer first-key2"},
        {"authorization": "Bearer first-key second-key"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"first-key").decode()},
        {"x-api-key": "wrong"},
        {"x-api-key": b"\xff\xfe"},
    ],
)
@pytest.mark.parametrize("path", ["/rerank", "/v2/rerank", "/metrics", "/docs", "/openapi.json"])
def test_others_do_not(guarded: Running, headers: dict[str, Any], path: str) -> None:
    method = "POST" if "rerank" in path else "GET"
    reply = httpx.request(method, guarded.url + path, headers=headers)
    assert reply.status_code == 401
    assert "key" in message(reply)
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["x-request-id"]


def test_a_browser_is_asked_for_a_key(guarded: Running) -> None:
    reply = httpx.get(f"{guarded.url}/docs", headers={"accept": "text/html,*/*"})
    assert reply.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/health/"])
def test_health_is_open(guarded: Running, path: str) -> None:
    assert httpx.get(guarded.url + path).status_code == 200


@pytest.mark.parametrize("path", ["/health/../rerank", "//health", "/health/x", "/healthy"])
def test_nothing_else_is(guarded: Running, path: str) -> None:
    assert b" 401 " in raw(guarded, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())[:20]


def test_no_key_is_ever_written(
    guarded: Running, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.post("/rerank", json=GOOD)
    client.get("/metrics?api_key=first-key")
    httpx.post(f"{guarded.url}/rerank", json=GOOD, headers={"x-api-key": "wrong-key"})
    own = [record for record in caplog.records if record.name.startswith("qwen3_rerank")]
    assert own
    written = " ".join(str(vars(record)) for record in own)
    assert not any(key in written for key in (*KEYS, "wrong-key"))
    assert "'key': 'key 2'" in written
    shown = str(guarded.service.settings.shown()) + repr(guarded.service.settings)
    assert not any(key in shown for key in KEYS)


def test_texts_are_not_written_unless_asked(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client.post("/rerank", json={"query": "secret question", "documents": ["secret answer"]})
    client.post("/rerank", json={"query": "secret question", "documents": ["secret", 5]})
    client.post("/rerank", json={"query": "secret " * 100, "documents": ["x"]})
    assert "secret" not in " ".join(str(vars(record)) for record in caplog.records)


def _of_length(n_bytes: int) -> bytes:
    body = b'{"query": "q", "documents": ["a", "b"]}'
    return body + b" " * (n_bytes - len(body))


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "q", "documents": ["a", "b", "c"]}',
        b'{"query": "q", "documents": ["' + b"a" * (1999 - len(DEFAULT_INSTRUCTION)) + b'"]}',
        b'{"query": "' + b"aaaaaaaa " * 100 + b'", "documents": ["a"]}',
        _of_length(20_000),
        b'{"query": "q", "documents": ["a"], "x": [' + b"0," * 8_000 + b"0]}",
    ],
    ids=["documents", "characters", "query", "bytes", "values"],
)
def test_a_limit_itself_is_allowed(client: httpx.Client, path: str, body: bytes) -> None:
    reply = client.post(path, content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 200 or "max_length" in message(reply), reply.text


def numbers_of(model: type[BaseModel]) -> list[str]:
    """The fields of a request that may be numbers, by its schema."""
    fields = model.model_json_schema()["properties"]
    return [name for name, schema in fields.items() if _NUMBER.search(json.dumps(schema))]


@pytest.mark.parametrize("model", [RerankRequest, BatchRequest, ScorePairsRequest, PredictRequest])
def test_true_is_no_number(model: type[BaseModel]) -> None:
    """Pydantic would take it for 1, such as one second of ``time_budget``."""
    names = numbers_of(model)
    assert len(names) > (1 if model is ScorePairsRequest else 9)
    for name in names:
        value: Any = [True] if name == "retriever_scores" else True
        if name == "retriever_scores" and model is BatchRequest:
            value = [value]
        with pytest.raises(ValidationError) as refused:
            model.model_validate_json(json.dumps({name: value}))
        found = [error["msg"] for error in refused.value.errors() if error["loc"][0] == name]
        assert any("number" in words for words in found), (name, found)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 422, "JSON"),
        (b"{", 422, "JSON"),
        (b"[]", 422, "body"),
        (b"null", 422, "body"),
        (b'{"query": "q"}', 422, "documents"),
        (b'{"documents": ["a"]}', 422, "query"),
        (b'{"query": " ", "documents": ["a"]}', 422, "blank"),
        (b'{"query": 5, "documents": ["a"]}', 422, "query"),
        (b'{"query": "q", "documents": [5]}', 422, "item 0"),
        (b'{"query": "q", "documents": [{"title": "a"}]}', 422, "item 0"),
        (b'{"query": "q", "documents": {"a": 1}}', 422, "item 0"),
        (b'{"query": "q", "documents": ["a"], "texts": ["a"]}', 422, "documents"),
        (b'{"query": "q", "documents": ["\\ud800"]}', 422, "surrogate"),
        (b'{"query": "\\udfff", "documents": ["a"]}', 422, "surrogate"),
        (b'{"query": "q\xff", "documents": ["a"]}', 422, "unicode"),
        (b'{"query": "q", "documents": ["a"], "top_n": -1}', 422, "top_n"),
        (b'{"query": "q", "documents": ["a"], "top_n": 1.5}', 422, "top_n"),
        (b'{"query": "q", "documents": ["a"], "time_budget": true}', 422, "got a bool"),
        (b'{"query": "q", "documents": ["a"], "top_n": 1e400}', 422, "top_n"),
        (b'{"query": "q", "documents": ["a"], "top_n": NaN}', 422, "top_n"),
        (b'{"query": "q", "documents": ["a"], "top_n": ' + b"9" * 5000 + b"}", 422, "number"),
        (b'{"query": "q", "documents": ["a"], "top_n": 1, "top_k": 2}', 422, "differ"),
        (b'{"query": "q", "documents": ["a"], "score_threshold": NaN}', 422, "score_threshold"),
        (b'{"query": "q", "documents": ["a"], "instruct": "x", "instruction": "y"}', 422, "differ"),
        (
            b'{"query": "q", "documents": ["a"], "chat_template_kwargs": {"instruct": 1}}',
            422,
            "str",
        ),
        (
            b'{"query": "q", "documents": ["a"], "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
            422,
            "recu",
        ),
        (b'{"query": "q", "documents": ["a", "b", "c", "d"]}', 422, "takes 3"),
        (b'{"query": "q", "documents": ["' + b"a" * 2001 + b'"]}', 422, "takes 2000"),
        (
            b'{"query": "q", "documents": ["' + b"a" * (2000 - len(DEFAULT_INSTRUCTION)) + b'"]}',
            422,
            "2001 characters: this service takes 2000",
        ),
        (b'{"query": "' + b"a" * 901 + b'", "documents": ["a"]}', 422, "takes 900"),
        (b'{"query": "' + b"? " * 400 + b'", "documents": ["a"]}', 422, "max_length"),
        (b'{"query": "q", "documents": ["' + b"a" * 20_000 + b'"]}', 413, "20000 bytes"),
        (_of_length(20_001), 413, "20000 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bodies(client: httpx.Client, path: str, body: bytes, status: int, word: str) -> None:
    reply = client.post(path, content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, word in message(reply)) == (status, True), reply.text


@pytest.mark.parametrize(
    "body",
    [
        {"query": "q", "texts": list("abcd")},
        {"query": " ", "texts": ["a"]},
        {"query": "q", "texts": [5]},
        {"query": 5, "texts": ["a"]},
        {"texts": ["a"]},
    ],
    ids=["limit", "blank", "text", "query", "no query"],
)
def test_tei_s_clients_get_tei_s_errors(client: httpx.Client, body: dict[str, Any]) -> None:
    reply = client.post("/rerank", json=body)
    assert reply.status_code == 422
    assert set(reply.json()) == {"error", "error_type"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/x"])
def test_other_content_types(client: httpx.Client, kind: str) -> None:
    """A web page of another origin could send these without being allowed to."""
    reply = client.post("/rerank", content=json.dumps(GOOD), headers={"content-type": kind})
    assert reply.status_code == 415


def test_unknown_routes_and_methods(client: httpx.Client) -> None:
    assert client.get("/nothing").status_code == 404
    reply = client.get("/v2/rerank")
    assert (reply.status_code, "Method Not Allowed" in message(reply)) == (405, True)


def raw(guarded: Running, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back for bytes sent as they are."""
    host, port = guarded.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
            if pause == 0 and b"}" in received:
                break
        return received


HEAD = (
    b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nX-API-Key: first-key\r\n"
    b"Content-Type: application/json\r\n"
)


def test_a_chunked_body_is_counted_as_it_comes(guarded: Running) -> None:
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    reply = raw(guarded, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 6)
    assert b" 413 " in reply.splitlines()[0]


def test_a_lie_about_the_length_is_believed_at_once(guarded: Running) -> None:
    reply = raw(guarded, HEAD + b"Content-Length: 99999999999999999999\r\n\r\n")
    assert reply.splitlines()[0].split()[1] in (b"400", b"413")


def test_the_reply_to_a_large_body_is_read_by_its_sender(client: httpx.Client) -> None:
    """The connection must not be reset while the client still sends."""
    for _ in range(5):
        assert client.post("/rerank", content=b" " * 8_000_000).status_code in (413, 415)
    headers = {"content-type": "application/json"}
    for _ in range(5):
        reply = client.post("/rerank", content=b" " * 8_000_000, headers=headers)
        assert reply.status_code == 413


def test_a_slow_body(guarded: Running) -> None:
    reply = raw(guarded, HEAD + b"Content-Length: 100\r\n\r\n{", pause=0.1)
    assert b" 408 " in reply.splitlines()[0]


def test_half_a_body_and_gone(guarded: Running, client: httpx.Client) -> None:
    host, port = guarded.url.removeprefix("http://").split(":")
    for _ in range(10):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"query')
    assert client.post("/rerank", json=GOOD).status_code == 200


def test_cors_is_off(client: httpx.Client) -> None:
    reply = client.options(
        "/rerank",
        headers={"origin": "http://a.example", "access-control-request-method": "POST"},
    )
    assert "access-control-allow-origin" not in reply.headers


def test_cors_is_for_the_origins_asked_for(run: Any, reranker: Reranker) -> None:
    url = run(reranker, cors_origins="http://a.example", serve_keys="k").url
    for origin, allowed in (("http://a.example", True), ("http://b.example", False)):
        preflight = {"origin": origin, "access-control-request-method": "POST"}
        reply = httpx.options(f"{url}/rerank", headers=preflight)
        assert (reply.headers.get("access-control-allow-origin") == origin) is allowed
        refused = httpx.post(f"{url}/rerank", json=GOOD, headers={"origin": origin})
        assert refused.status_code == 401
        assert (refused.headers.get("access-control-allow-origin") == origin) is allowed
