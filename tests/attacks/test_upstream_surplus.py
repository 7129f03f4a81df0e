"""A server that answers a request twice, or a document: nobody gets the other answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.upstreams import Request, Upstream, chunked, ranking, reply

from shared_core import InvalidReplyError, Reranker, ServerUnreachableError

CALLS = 30


def twice(request: Request) -> None:
    request.send(reply(ranking(request.body)) * 2)


def twice_in_two_packets(request: Request) -> None:
    request.send(reply(ranking(request.body)))
    request.send(reply(ranking(request.body)))


def twice_in_chunks(request: Request) -> None:
    request.send(chunked(ranking(request.body)) * 2)


def more_than_the_length_says(request: Request) -> None:
    right = reply(ranking(request.body))
    request.send(right, reply(b"", status="204 No Content"), right)


def a_body_where_there_is_none(request: Request) -> None:
    """The first request is told to come again; the next one would get what is behind that."""
    if request.number == 0:
        request.send(b"HTTP/1.1 204 No Content\r\n\r\n", reply(ranking(request.body)))
    else:
        request.send(reply(ranking(request.body)))


def provisional_answers_behind(request: Request) -> None:
    right = reply(ranking(request.body))
    request.send(b"HTTP/1.1 100 Continue\r\n\r\n", right, b"HTTP/1.1 103 Hints\r\n\r\n", right)


def up_to_the_end_of_a_read(request: Request) -> None:
    """The first answer fills what is read at once, so that the second stays behind it."""
    content = ranking(request.body)
    head = len(reply(content)) - len(content) + 3
    right = reply(content + b" " * (2**16 - head - len(content)))
    request.send(right, reply(ranking(request.body)))


TALKS = [
    twice,
    twice_in_two_packets,
    twice_in_chunks,
    more_than_the_length_says,
    a_body_where_there_is_none,
    provisional_answers_behind,
    up_to_the_end_of_a_read,
]


def documents(call: int) -> tuple[list[str], list[float]]:
    """Three documents and their scores, which no other call has."""
    scores = [(3 * call + place + 1) / 256 for place in range(3)]
    return [f"call {call}: {score}" for score in scores], scores


def all_right(reranker: Reranker, calls: range, *failures: type[Exception]) -> int:
    """Score one call after the other; return how many failed, none with wrong scores."""
    failed = 0
    for call in calls:
        texts, expected = documents(call)
        try:
            assert reranker.score("q", texts) == pytest.approx(expected)
        except failures:
            failed += 1
    return failed


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.__name__)
def test_every_query_gets_its_own_scores(talk: Callable[[Request], None]) -> None:
    with Upstream(talk) as upstream, upstream.client(max_retries=2) as reranker:
        failed = all_right(reranker, range(CALLS), InvalidReplyError)
    assert failed <= (talk is a_body_where_there_is_none) * CALLS


@pytest.mark.parametrize("talk", [twice, twice_in_chunks], ids=lambda talk: talk.__name__)
def test_calls_at_once_get_their_own_scores(talk: Callable[[Request], None]) -> None:
    async def run(reranker: Reranker) -> None:
        async def one(call: int) -> None:
            texts, expected = documents(call)
            assert await reranker.ascore("q", texts) == pytest.approx(expected)

        await asyncio.gather(*(one(call) for call in range(CALLS)))
        await reranker.aclose()

    with Upstream(talk) as upstream:
        asyncio.run(run(upstream.client(max_retries=2)))


def test_no_connection_is_used_twice_once_there_was_more_than_was_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def once(request: Request) -> None:
        right = reply(ranking(request.body))
        request.send(right * (2 if len(upstream.seen) == 3 else 1))

    with Upstream(once) as upstream, upstream.client() as reranker:
        all_right(reranker, range(10))
        # The third answer on the first connection may be the second one's: it is asked for again.
        assert upstream.n_connections == 1 + 8
        assert [one.number for one in upstream.seen if one.number] == [1, 2]
    assert sum("more than was asked for" in record.message for record in caplog.records) == 1


def test_an_answer_that_comes_too_late_is_nobodys() -> None:
    def late(request: Request) -> None:
        time.sleep(1.5 if len(upstream.seen) % 4 == 2 else 0)
        request.send(reply(ranking(request.body)))

    with Upstream(late) as upstream, upstream.client(timeout=1.0, max_retries=0) as reranker:
        assert all_right(reranker, range(8), ServerUnreachableError) >= 2


@pytest.mark.parametrize("talk", [twice, twice_in_two_packets], ids=lambda talk: talk.__name__)
def test_a_second_answer_inside_of_tls_is_noticed(
    talk: Callable[[Request], None], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two records in one packet: the second is neither in the socket nor read yet."""
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Upstream(talk, context) as upstream, upstream.client(max_retries=2) as reranker:
        assert all_right(reranker, range(CALLS)) == 0


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"results": [{"index": 0, "relevance_score": 0.9, "relevance_score": 0.1}]}', "score"),
        (b'{"results": [{"index": 0, "relevance_score": 0.9}], "results": []}', "results"),
    ],
    ids=["score", "results"],
)
def test_a_name_that_has_two_values_has_none(body: bytes, name: str) -> None:
    """Most parsers take the last, some the first; a proxy may have read the other one."""
    with (
        Upstream(lambda request: request.send(reply(body))) as upstream,
        upstream.client() as reranker,
        pytest.raises(InvalidReplyError, match=f"{name}' twice in one object"),
    ):
        reranker.score("q", ["a"])
