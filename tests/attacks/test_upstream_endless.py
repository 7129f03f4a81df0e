"""Replies that never end, in every way; and where a client is sent to. The loop stays free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.upstreams import Request, Upstream, ranking, reply

from shared_core import InvalidReplyError, ServerStatusError, ServerUnreachableError

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def for_ever(start: bytes, piece: bytes) -> Callable[[Request], None]:
    """Send as fast as it is taken, until the client hangs up."""

    def talk(request: Request) -> None:
        request.send(start)
        for _ in range(200_000):
            request.send(piece * max(1, 60_000 // len(piece)))

    return talk


ENDLESS = {
    "headers": for_ever(b"HTTP/1.1 200 OK\r\n", b"x-more: 1\r\n"),
    "one header": for_ever(b"HTTP/1.1 200 OK\r\nx-more: ", b"1"),
    "a status line": for_ever(b"HTTP/1.1 200 ", b"OK"),
    "provisional answers": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "hints": for_ever(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
    "chunks of a byte": for_ever(HEAD, b"1\r\n \r\n"),
    "an extension of a chunk": for_ever(HEAD + b"1;x=", b"x"),
    "trailers": for_ever(HEAD + b"0\r\n", b"x-more: 1\r\n"),
    "a size of a chunk": for_ever(HEAD, b"0"),
    "a body": for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "an error": for_ever(b"HTTP/1.1 400 Bad\r\n\r\n", b"no "),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_ends_is_given_up(name: str) -> None:
    async def run(upstream: Upstream) -> int:
        """Return the number of turns that the loop had meanwhile."""
        n_turns = 0
        async with upstream.client(timeout=3.0, max_retries=0) as reranker:
            call = asyncio.ensure_future(reranker.ascore("q", ["a"]))
            while not call.done():
                await asyncio.sleep(0)
                n_turns += 1
        error = call.exception()
        assert isinstance(error, (InvalidReplyError, ServerUnreachableError, ServerStatusError))
        assert len(str(error)) < 2000
        return n_turns

    with Upstream(ENDLESS[name]) as upstream:
        assert asyncio.run(run(upstream)) > 10


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
def test_nobody_is_followed_with_a_key(status: str) -> None:
    right = Upstream(lambda request: request.send(reply(ranking(request.body))))
    with (
        right,
        Upstream(
            lambda request: request.send(
                reply(b"", f"location: {right.url}/v1/rerank", status=status)
            )
        ) as upstream,
        upstream.client(api_key="sk-secret-key", headers={"x-tenant": "t-secret"}) as reranker,
        pytest.raises(ServerStatusError, match="a redirection to"),
    ):
        reranker.score("q", ["a"])
    assert right.n_connections == 0


SCORES = {
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "beyond floats": b"1e999",
    "a huge whole number": b"9" * 4000,
    "a longer one": b"9" * 5000,
    "a boolean": b"true",
    "text": b'"0.5"',
    "nothing": b"null",
    "a list": b"[0.5]",
    "nested": b"[" * 900 + b"]" * 900,
}
INDICES = {
    "negative": b"-1",
    "too large": b"2",
    "twice": b"1",
    "boolean": b"true",
    "half": b"0.5",
    "text": b'"0"',
    "nothing": b"null",
    "huge": b"9" * 400,
    "not a number": b"NaN",
    "minus nothing and a half": b"-0.5",
}


def row(index: bytes, score: bytes) -> bytes:
    return b'{"index": %s, "relevance_score": %s}' % (index, score)


@pytest.mark.parametrize("name", [*SCORES, *INDICES])
def test_no_odd_number_makes_a_ranking(name: str) -> None:
    rows = [row(b"0", SCORES[name])] if name in SCORES else [row(INDICES[name], b"0.5")]
    content = b'{"results": [%s]}' % b",".join([*rows, row(b"1", b"0.25")])
    for headers in ([], ["content-type: text/html"]):
        talk = lambda request, headers=headers: request.send(reply(content, *headers))  # noqa: E731
        with (
            Upstream(talk) as upstream,
            upstream.client() as reranker,
            pytest.raises(InvalidReplyError),
        ):
            reranker.rerank("q", ["a", "b"])


def test_a_name_that_is_there_twice_makes_no_ranking() -> None:
    """Readers differ in which of two values they take, and one of them is wrong."""
    content = b'{"results": [{"index": 0, "index": 1, "relevance_score": 0.9}, %s]}'
    talk = lambda request: request.send(reply(content % row(b"0", b"0.1")))  # noqa: E731
    with (
        Upstream(talk) as upstream,
        upstream.client() as reranker,
        pytest.raises(InvalidReplyError, match="twice"),
    ):
        reranker.rerank("q", ["a", "b"])
