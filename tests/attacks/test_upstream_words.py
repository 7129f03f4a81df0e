"""What a server says is shown as text: no terminal, log or table obeys it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import pytest
from support.upstreams import Request, Upstream, reply

from shared_core import RerankError
from shared_core.scorers.remote.failures import server_words

EVIL = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe\u2066 \u200fx\x00\x7f\x9b31m\u2028y\ufeff"


def said(content: bytes, status: str, *headers: str) -> Callable[[Request], None]:
    return lambda request: request.send(reply(content, *headers, status=status))


def in_json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


PLACES = {
    "message": said(in_json({"error": {"message": EVIL}}), "400 Bad"),
    "detail": said(in_json({"detail": [{"loc": [EVIL], "msg": EVIL}]}), "422 Bad"),
    "code": said(in_json({"code": EVIL, "message": "x"}), "400 Bad"),
    "text": said(EVIL.encode(), "500 Bad"),
    "title": said(f"<html><title>{EVIL}</title>".encode(), "404 Bad"),
    "request id": said(in_json({"request_id": EVIL, "message": "no"}), "400 Bad"),
    "header": said(b"", "400 Bad", "x-request-id: a\x1b[2Jb\x9b"),
    "location": said(b"", "302 There", "location: /\x1b[2J\x9b31m"),
    "escaped": said(json.dumps({"message": EVIL}).encode(), "429 Bad"),
    "a name": said(in_json({EVIL: 1}), "200 OK"),
    "a score": said(in_json({"results": [{"index": 0, "relevance_score": EVIL}]}), "200 OK"),
    "no JSON": said(EVIL.encode(), "200 OK"),
    "beside": said(in_json({"results": [], "message": EVIL}), "200 OK"),
    "no HTTP": lambda request: request.send(EVIL.encode(), b"\r\n\r\n"),
    "reason": said(b"", f"400 {EVIL}".encode().decode("latin-1").replace("\x85", "")),
    "encoding": said(b"{}", "200 OK", "content-encoding: \x1b[2J"),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_error_or_log_holds_what_a_terminal_obeys(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "qwen3_rerank")
    with (
        Upstream(PLACES[place]) as upstream,
        upstream.client(max_retries=1) as reranker,
        pytest.raises(RerankError) as caught,
    ):
        reranker.score("q", ["a", "b"])
    error = caught.value
    assert str(error).isprintable()
    assert str(getattr(error, "request_id", None)).isprintable()
    logged = [record.getMessage() for record in caplog.records]
    assert [text for text in logged if not text.isprintable()] == []


def described(page: object) -> Callable[[Request], None]:
    return said(in_json(page), "200 OK")


@pytest.mark.parametrize(
    "page",
    [
        {"data": [{"id": EVIL, "owned_by": "vllm"}], "version": EVIL},
        {"data": [{"id": "m", "owned_by": "vllm"}], "version": EVIL},
        {"litellm_version": EVIL, "data": [{"id": EVIL}]},
        {"model_id": EVIL, "model_type": EVIL, "version": EVIL},
    ],
)
def test_nor_what_a_server_says_that_it_is(page: object) -> None:
    upstream = Upstream(described(page))
    upstream.pages = in_json(page)
    with (
        upstream,
        upstream.client(dialect="auto", template="auto", max_retries=0) as reranker,
        pytest.raises(RerankError) as caught,
    ):
        reranker.score("q", ["a"])
    assert str(caught.value).isprintable()


def test_words_of_scripts_that_need_joiners_stay_as_they_are() -> None:
    words = "می\u200cخواهم क्\u200dष naïve 日本語"
    assert server_words(in_json({"message": words})) == words


def test_a_secret_is_not_put_together_again_by_cleaning() -> None:
    key = "sk-1234567890abcdef"
    broken = "\x1b".join(key)
    with (
        Upstream(said(in_json({"message": broken}), "401 No")) as upstream,
        upstream.client(api_key=key) as reranker,
        pytest.raises(RerankError) as caught,
    ):
        reranker.score("q", ["a"])
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "unit", [b"<title", b"<title>", b'"request_id" ', b"<title></titl", b"\x1b", b'{"message":']
)
def test_reading_an_error_page_takes_time_in_proportion_to_it(unit: bytes) -> None:
    def seconds(size: int) -> float:
        page = b"<html>" + unit * (size // len(unit))
        found = []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(10):
                server_words(page, "text/html")
            found.append(time.perf_counter() - start)
        return min(found)

    assert seconds(18_000) < 9 * seconds(4_500)


def test_a_body_that_is_nested_too_deep_to_print_is_an_error_of_ours() -> None:
    deep: object = "x"
    for _ in range(400):
        deep = [deep]
    for body in (
        {"detail": [{"loc": [deep], "msg": deep}]},
        {"error": deep},
        deep,
        {"message": deep},
    ):
        for status in ("200 OK", "400 Bad"):
            with (
                Upstream(said(in_json(body), status)) as upstream,
                upstream.client() as reranker,
                pytest.raises(RerankError, match=r"answered|reply|expected"),
            ):
                reranker.score("q", ["a"])
