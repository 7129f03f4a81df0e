"""Bodies cost bounded memory, and health answers meanwhile."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.services import Process
from support.waiting import until

from tests.qwen3_rerank.service.test_service_process import resident_megabytes

GOOD = {"query": "q", "documents": ["a", "b"]}
JSON = {"content-type": "application/json"}
MILLIONS = b"[" + b"{}," * 4_000_000 + b"{}]"
HEAD = b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def process(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(
        tmp_path_factory.mktemp("memory") / "log",
        *("--model", str(checkpoint), "--dtype", "float32", "--max-length", "300"),
    )
    process.wait_until_ready()
    assert httpx.post(f"{process.url}/rerank", json=GOOD).status_code == 200
    yield process
    process.kill()


def connect(process: Process) -> socket.socket:
    host, port = process.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def health_replies(process: Process, work: Callable[[], None]) -> int:
    """Return how many health checks, one after the other, were answered while something ran."""
    count = 0
    thread = threading.Thread(target=work)
    with httpx.Client(base_url=process.url, timeout=60) as client:
        thread.start()
        while thread.is_alive():
            assert client.get("/health/live").status_code == 200
            count += 1
    thread.join()
    return count


def counted(process: Process, status: int) -> int:
    """How many requests for scores ended with a status."""
    text = httpx.get(f"{process.url}/metrics").text
    name = f'qwen3_rerank_requests_total{{method="POST",route="/rerank",status="{status}"}}'
    values = [line.split()[-1] for line in text.splitlines() if line.startswith(name)]
    return int(float(values[0])) if values else 0


def test_unfinished_bodies(process: Process) -> None:
    """Thirty of 12 MB: memory for less than half of them, and small requests are answered."""
    before = resident_megabytes(process)
    head = HEAD + b"Content-Length: 12582912\r\n\r\n"
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(process)) for _ in range(30)]

        def send(connection: socket.socket) -> None:
            try:
                connection.sendall(head + b'{"query": "' + b"x" * 12_000_000)
            except OSError:
                assert connection is not connections[0]

        threads = [threading.Thread(target=send, args=(one,)) for one in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert resident_megabytes(process) - before < 200
        assert httpx.post(f"{process.url}/rerank", json=GOOD, timeout=60).status_code == 200
        until(lambda: counted(process, 429) >= 15)
    # What they held is free again.
    whole = json.dumps(GOOD).encode() + b" " * 8_000_000

    def is_accepted() -> bool:
        reply = httpx.post(f"{process.url}/rerank", content=whole, headers=JSON, timeout=60)
        return reply.status_code == 200

    until(is_accepted)
    assert counted(process, 500) == 0


@pytest.mark.parametrize("field", ["model", "anything", "chat_template_kwargs", "documents"])
def test_four_million_objects(process: Process, field: str) -> None:
    before = resident_megabytes(process)
    body = b'{"query": "q", "texts": ["a"], "%s": %s}' % (field.encode(), MILLIONS)
    statuses: list[int] = []

    def attack() -> None:
        for _ in range(3):
            reply = httpx.post(f"{process.url}/rerank", content=body, headers=JSON, timeout=60)
            statuses.append(reply.status_code)

    assert health_replies(process, attack) >= 10
    assert statuses == [422] * 3
    assert resident_megabytes(process) - before < 120


@pytest.mark.parametrize(
    "text",
    ['\\"' * 200_000, "\\\\" * 200_000, "\\u4e2d" * 50_000, "a, b [c] {d}" * 30_000],
    ids=["quotes", "backslashes", "escapes", "punctuation"],
)
def test_text_is_no_structure(process: Process, text: str) -> None:
    """Commas, brackets and escapes of long texts are not counted as values."""
    body = b'{"query": "q", "documents": ["%s"]}' % text.encode()
    reply = httpx.post(f"{process.url}/rerank", content=body, headers=JSON, timeout=60)
    assert reply.status_code == 200, reply.text


def test_a_document_of_too_many_windows(process: Process) -> None:
    """It is refused before all of its windows are made, and health answers meanwhile."""
    body = {
        "query": "q",
        "documents": ["word and more. " * 260_000],
        "long_documents": "windows",
        "window_tokens": 16,
        "window_overlap": 8,
    }
    replies: list[httpx.Response] = []

    def attack() -> None:
        replies.append(httpx.post(f"{process.url}/rerank", json=body, timeout=120))

    assert health_replies(process, attack) >= 3
    assert replies[0].status_code == 422
    assert "more than 1000 windows of 16 tokens" in replies[0].json()["detail"]


def test_hanging_up_inside_a_body_is_no_error(process: Process) -> None:
    before = counted(process, 499)
    for _ in range(5):
        with connect(process) as connection:
            connection.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"query')
    until(lambda: counted(process, 499) >= before + 5)
    assert counted(process, 500) == 0
    assert "Traceback" not in process.log.read_text()


def test_the_end_of_the_grace(checkpoint: Path, tmp_path: Path) -> None:
    """What is not finished by then gets 503 in the form of its route, and is logged as that."""
    process = Process(
        tmp_path / "log",
        *("--model", str(checkpoint), "--dtype", "float32", "--max-batch-tokens", "200"),
        *("--shutdown-grace", "0.5", "--max-length", "300"),
    )
    try:
        process.wait_until_ready()
        long = [f"{i} words " * 40 for i in range(1000)]
        asked = {"/v2/rerank": "documents", "/rerank": "texts", "/v1/rerank": "documents"}
        replies: dict[str, httpx.Response] = {}

        def ask(path: str, name: str) -> None:
            body = {"query": "q", name: long}
            replies[path] = httpx.post(process.url + path, json=body, timeout=60)

        threads = [threading.Thread(target=ask, args=pair) for pair in asked.items()]
        for thread in threads:
            thread.start()
        name = "qwen3_rerank_queue_requests 3.0"
        while name not in httpx.get(f"{process.url}/metrics").text:
            assert any(thread.is_alive() for thread in threads)
        with connect(process) as unfinished:
            unfinished.sendall(HEAD + b'Content-Length: 100\r\n\r\n{"query')
            process.terminate()
            received = b""
            while chunk := unfinished.recv(65536):
                received += chunk
        for thread in threads:
            thread.join()
        assert process.popen.wait(30) == 0
    finally:
        process.kill()
    assert b" 503 " in received.splitlines()[0]
    assert {path: reply.status_code for path, reply in replies.items()} == dict.fromkeys(asked, 503)
    assert set(replies["/v2/rerank"].json()) == {"message"}
    assert replies["/rerank"].json()["error_type"] == "Unhealthy"
    assert "shutting down" in replies["/v1/rerank"].json()["detail"]
    logged = [line["status"] for line in process.lines() if line.get("path") in asked]
    assert logged == [503] * 4
    assert "Traceback" not in process.log.read_text()
