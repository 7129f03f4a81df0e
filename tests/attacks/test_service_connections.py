"""Clients that open connections and do not use them keep nobody else out."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from support.services import Process
from support.waiting import until

GOOD = {"query": "q", "documents": ["a", "b"]}
HEAD = b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CONNECTIONS = 1100
FEW = 10


@pytest.fixture(scope="module")
def process(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service that may open 1,024 files, as usual; this process may open more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CONNECTIONS:
        pytest.skip("a process may open too few files here: as root, ulimit -Hn 4096")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        process = Process(
            tmp_path_factory.mktemp("connections") / "log",
            *("--model", str(checkpoint), "--dtype", "float32", "--max-length", "300"),
            *("--body-timeout", "4"),
            QWEN3_RERANK_HEAD_TIMEOUT="3",
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CONNECTIONS), hard))
    process.wait_until_ready()
    yield process
    process.kill()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def few(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with few connections, whose clients have long to read."""
    process = Process(
        tmp_path_factory.mktemp("few") / "log",
        *("--model", str(checkpoint), "--dtype", "float32", "--max-length", "300"),
        *("--max-connections", str(FEW), "--body-timeout", "600"),
    )
    process.wait_until_ready()
    yield process
    process.kill()


def connect(process: Process) -> socket.socket:
    host, port = process.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def ask(process: Process) -> int:
    return httpx.post(f"{process.url}/rerank", json=GOOD, timeout=20).status_code


def closed(process: Process, reason: str) -> int:
    """How many connections the service closed for a reason."""
    text = httpx.get(f"{process.url}/metrics", timeout=20).text
    name = f'qwen3_rerank_connections_closed_total{{reason="{reason}"}}'
    values = [line.split()[-1] for line in text.splitlines() if line.startswith(name)]
    return int(float(values[0])) if values else 0


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /rerank HTTP/1.1\r\nHost: ", HEAD + b"Content-Length: 1000\r\n\r\n{"],
    ids=["nothing", "half a head", "half a body"],
)
def test_more_connections_than_files(process: Process, sent: bytes) -> None:
    """Every request is answered while they are open, and the log stays small."""
    size = process.log.stat().st_size
    with ExitStack() as stack:
        for number in range(CONNECTIONS):
            connection = stack.enter_context(connect(process))
            if sent:
                connection.sendall(sent)
            if number % 200 == 199:
                assert ask(process) == 200
        assert [ask(process) for _ in range(3)] == [200] * 3
        assert closed(process, "crowded out") > 0
    assert process.log.stat().st_size - size < 1_000_000
    lines = [line for line in process.lines() if "was closed" in line["message"]]
    assert 1 <= len(lines) <= 10
    assert "out of system resource" not in process.log.read_text()


def test_a_head_that_takes_too_long(process: Process) -> None:
    """Whether bytes come now and then or not at all, also as the second request."""
    first = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(process) as silent, connect(process) as slow, connect(process) as second:
        second.sendall(first)
        reply = second.recv(65536)
        while not reply.endswith(b"}"):
            reply += second.recv(65536)
        assert b"200 OK" in reply
        for byte in b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100:
            try:
                slow.sendall(bytes([byte]))
                second.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.02)
        assert silent.recv(65536) == b""
        for connection in (slow, second):
            connection.settimeout(30)
            with suppress(ConnectionResetError):  # it was still sending
                assert b"408" in connection.recv(65536)
    until(lambda: closed(process, "slow head") >= 3)


def test_a_reply_that_nobody_reads(process: Process) -> None:
    """Its connection is closed, and what it held is free."""
    with connect(process) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1200)
        until(lambda: closed(process, "slow reader") >= 1)
    assert ask(process) == 200


def test_readers_that_do_not_read_make_room(few: Process) -> None:
    """They take all connections, with replies under way; who comes then is answered."""
    with ExitStack() as stack:
        for _ in range(2 * FEW):
            connection = stack.enter_context(connect(few))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
        until(lambda: httpx.get(f"{few.url}/health/live", timeout=20).status_code == 200)
        assert [ask(few) for _ in range(3)] == [200] * 3


def test_who_waits_longest_makes_room(few: Process) -> None:
    """Half a body is no claim to a place over those who come after it."""
    with ExitStack() as stack:
        for _ in range(FEW):
            connection = stack.enter_context(connect(few))
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        time.sleep(0.5)  # all of them are being read
        guests = [stack.enter_context(connect(few)) for _ in range(FEW // 2)]
        time.sleep(0.5)
        for guest in guests:
            guest.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [guest.recv(65536).startswith(b"HTTP/1.1 200") for guest in guests] == [True] * 5


def test_a_request_with_two_lengths_is_the_last_of_its_connection(few: Process) -> None:
    """A proxy that reads the other one takes what follows for a request of somebody else."""
    second = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for before, answers in ((b"", 1), (second, 2)):
        with connect(few) as connection:
            two = HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            connection.sendall(before + two + second)
            reply = b""
            while received := connection.recv(65536):
                reply += received
        assert reply.count(b"HTTP/1.1 ") == answers


def test_a_connection_that_waits_is_kept(process: Process) -> None:
    """One between two requests is not closed for the time of a head."""
    with httpx.Client(base_url=process.url, timeout=20) as client:
        assert client.post("/rerank", json=GOOD).status_code == 200
        before = client.get("/health/live").extensions["network_stream"]
        time.sleep(4.5)
        after = client.get("/health/live").extensions["network_stream"]
        ports = [stream.get_extra_info("client_addr") for stream in (before, after)]
        assert ports[0] == ports[1]
