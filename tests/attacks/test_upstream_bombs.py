"""Replies that are small on the wire and large in memory, or that never end."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from support.upstreams import Request, Upstream, chunked, ranking, reply

from shared_core import InvalidReplyError

MIB = 2**20
BOUND = 48  # MiB that a client may grow by, whatever it is sent; a reply may have one here
CLIENT = """
import json, resource, sys
from shared_core import Reranker, RerankError

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

found = {}
for name, url in json.loads(sys.argv[1]).items():
    options = {"dialect": "compatible", "template": "server-fixed", "max_retries": 0}
    with Reranker("m", base_url=url, **options) as reranker:
        before = peak()
        try:
            said = repr(reranker.score("q", ["a 0.25"]))
        except RerankError as error:
            said = f"{type(error).__name__}: {error}"
        found[name] = [peak() - before, said]
print(json.dumps(found))
"""


@cache
def zeros(frame: int, times: int = 1, size: int = 256 * MIB) -> bytes:
    """Blanks, compressed so many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, frame)
    found = b"".join(packer.compress(b" " * MIB) for _ in range(size // MIB)) + packer.flush()
    return found if times == 1 else squeezed(found, frame)


def squeezed(content: bytes, frame: int = 31) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, frame)
    return packer.compress(content) + packer.flush()


def encoded(coding: str, content: bytes) -> Callable[[Request], None]:
    return lambda request: request.send(reply(content, f"content-encoding: {coding}"))


def in_chunks(request: Request) -> None:
    head, _, _ = chunked(b"").partition(b"\r\n\r\n")
    body = chunked(zeros(31), 4000).partition(b"\r\n\r\n")[2]
    request.send(head, b"\r\ncontent-encoding: gzip\r\n\r\n", body)


def large_as_it_is(request: Request) -> None:
    for _ in range(300):
        request.send(b"HTTP/1.1 200 OK\r\n\r\n" if _ == 0 else b" " * MIB)


def many_lists(request: Request) -> None:
    """JSON of which every three bytes become a list of sixty."""
    request.send(reply(b'{"results": [' + b"[]," * (40 * MIB // 3) + b"[]]}"))


def an_error_of_many_bytes(request: Request) -> None:
    request.send(reply(zeros(31), "content-encoding: gzip", status="503 Busy"))


def other_codings() -> dict[str, Callable[[Request], None]]:
    """What only some packages can undo; where they are installed, the bomb is a real one."""
    found = {"br": b"\x1b\x00", "zstd": b"\x28\xb5\x2f\xfd"}
    for name, package in (("br", "brotli"), ("zstd", "zstandard")):
        if importlib.util.find_spec(package) is not None:
            found[name] = importlib.import_module(package).compress(b" " * (256 * MIB))
    return {name: encoded(name, content) for name, content in found.items()}


def test_no_reply_takes_more_memory_than_its_bound() -> None:
    bombs = {
        "gzip": encoded("gzip", zeros(31)),
        "deflate": encoded("deflate", zeros(15)),
        "gzip twice": encoded("gzip", zeros(31, 2)),
        "stacked": encoded("gzip, gzip", zeros(31, 2)),
        "stacked in lines": encoded("gzip\r\ncontent-encoding: gzip", zeros(31, 2)),
        "chunks": in_chunks,
        "no end": large_as_it_is,
        "lists": many_lists,
        "error": an_error_of_many_bytes,
        **other_codings(),
    }
    upstreams = {name: Upstream(talk) for name, talk in bombs.items()}
    for upstream in upstreams.values():
        upstream.__enter__()
    try:
        urls = json.dumps({name: upstream.url for name, upstream in upstreams.items()})
        root = str(Path(__file__).parents[2])
        found = subprocess.run(
            [sys.executable, "-c", CLIENT, urls],
            capture_output=True, text=True, check=True, timeout=120,
            env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    finally:
        for upstream in upstreams.values():
            upstream.__exit__()
    grown = json.loads(found.stdout)
    too_much = {name: mib for name, (mib, _) in grown.items() if mib > BOUND}
    assert not too_much
    wrong = {
        name: said
        for name, (_, said) in grown.items()
        if not said.startswith("ServerStatusError" if name == "error" else "InvalidReplyError")
    }
    assert not wrong


@pytest.mark.parametrize(("coding", "frame"), [("gzip", 31), ("GZIP", 31), ("deflate", 15)])
def test_a_gateway_that_compresses_unasked_is_understood(coding: str, frame: int) -> None:
    def talk(request: Request) -> None:
        assert request.headers["accept-encoding"] == "identity"
        content = squeezed(ranking(request.body), frame)
        request.send(reply(content, f"content-encoding: {coding}"))

    with Upstream(talk) as upstream, upstream.client() as reranker:
        assert reranker.score("q", ["a 0.25", "b 0.75"]) == pytest.approx([0.25, 0.75])


def test_what_is_not_encoded_as_it_says_is_no_ranking() -> None:
    for coding in ("gzip", "deflate", "br", "x-unknown\x1b[2J"):
        talk = encoded(coding, b'{"results": []}')
        with (
            Upstream(talk) as upstream,
            upstream.client() as reranker,
            pytest.raises(InvalidReplyError, match=r"encod") as caught,
        ):
            reranker.score("q", ["a"])
        assert str(caught.value).isprintable()


def test_a_long_request_may_have_a_long_reply() -> None:
    """Some servers echo the documents."""

    def talk(request: Request) -> None:
        echo = {"documents": request.body["documents"], **json.loads(ranking(request.body))}
        request.send(reply(json.dumps(echo).encode()))

    documents = [f"{'é' * 400_000} {score}" for score in (0.25, 0.5)]
    with Upstream(talk) as upstream, upstream.client() as reranker:
        assert reranker.score("q", documents) == pytest.approx([0.25, 0.5])
