"""Keys stay out of the log, can be replaced at any time, and are never left out by mistake."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send
from support.services import Process
from support.waiting import until
from typer.testing import CliRunner

from qwen3_rerank.cli.app import app
from qwen3_rerank.service.keys import Keys
from qwen3_rerank.service.logs import JsonFormatter, TextFormatter
from qwen3_rerank.service.middleware import Guarded
from qwen3_rerank.service.sources import load_settings, unknown_variables
from qwen3_rerank.web.repeats import OncePerMinute

OLD, NEW = "old-key-5ecret", "new-key-5ecret"
BODY = {"query": "q", "documents": ["a", "b"]}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# ours\n{OLD}\n")
    return file


@pytest.fixture(scope="module")
def process(
    checkpoint: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A service with one key, which logs all that it can."""
    process = Process(
        tmp_path_factory.mktemp("secrets") / "log",
        *("--model", str(checkpoint), "--log-level", "debug", "--require-key-file", str(key_file)),
        *("--max-batch-tokens", "200", "--dtype", "float32"),
    )
    process.wait_until_ready()
    yield process
    process.kill()


def test_a_websocket_handshake_is_not_logged_with_its_key(process: Process) -> None:
    host, port = process.url.removeprefix("http://").split(":")
    for key in ("of-somebody-else-5ecret", OLD):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(
                b"GET /rerank HTTP/1.1\r\nHost: localhost\r\n"
                b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
                b"Cookie: session=5ecret\r\nAuthorization: Bearer %s\r\n\r\n" % key.encode()
            )
            status = connection.recv(65536).split()[1]
            assert status in (b"401", b"403", b"405")
    until(lambda: sum(line.get("path") == "/rerank" for line in process.lines()) >= 2)
    assert "5ecret" not in process.log.read_text()


def test_the_client_s_address_is_not_what_it_says(process: Process) -> None:
    headers = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}
    httpx.get(f"{process.url}/version", headers={**headers, "x-api-key": OLD})
    until(lambda: any(line.get("path") == "/version" for line in process.lines()))
    assert "203.0.113.7" not in process.log.read_text()


def test_keys_are_replaced_without_a_restart(process: Process, key_file: Path) -> None:
    """The old one stops working at once, and no request that came before is lost."""
    body = {"query": "long", "documents": [f"{i} words " * 20 for i in range(300)]}
    status: list[int] = []

    async def main() -> None:
        async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:

            async def long() -> None:
                reply = await client.post("/rerank", json=body, headers={"x-api-key": OLD})
                status.append(reply.status_code)

            async def number_of_keys() -> list[str]:
                return [x["message"] for x in process.lines() if "read again" in x["message"]]

            task = asyncio.create_task(long())
            await asyncio.sleep(0.3)
            key_file.write_text(NEW)
            process.popen.send_signal(signal.SIGHUP)
            while not await number_of_keys():
                assert process.popen.poll() is None, "SIGHUP ended it"
                await asyncio.sleep(0.02)
            for key, expected in ((OLD, 401), (NEW, 200)):
                reply = await client.post("/rerank", json=BODY, headers={"x-api-key": key})
                assert reply.status_code == expected
            await task

    asyncio.run(main())
    assert status == [200]


@pytest.mark.parametrize("text", ["", "# none\n", "has blank\n"])
def test_a_bad_key_file_changes_nothing(process: Process, key_file: Path, text: str) -> None:
    before = len([x for x in process.lines() if x["level"] == "error"])
    good = key_file.read_text()
    key_file.write_text(text)
    process.popen.send_signal(signal.SIGHUP)
    until(lambda: len([x for x in process.lines() if x["level"] == "error"]) > before)
    assert "stay as they are" in process.lines()[-1]["message"]
    assert httpx.post(f"{process.url}/rerank", json=BODY).status_code == 401
    headers = {"x-api-key": good.split()[-1]}
    assert httpx.post(f"{process.url}/rerank", json=BODY, headers=headers).status_code == 200
    key_file.write_text(good)


def test_the_whole_log_is_json(process: Process) -> None:
    for line in process.log.read_text().splitlines():
        assert isinstance(json.loads(line), dict)


def run_serve(**environment: str) -> Any:
    clean = {name: None for name in os.environ if name.startswith("QWEN3_RERANK_")}
    arguments = ["serve", "--show-config", "--model", "tiny"]
    return CliRunner().invoke(app, arguments, env={**clean, **environment})


@pytest.mark.parametrize("text", ["", " ", ",", " , ,", "[]", '[""]', '["a", ""]'])
def test_no_keys_by_mistake(text: str) -> None:
    run = run_serve(QWEN3_RERANK_SERVE_KEYS=text)
    assert run.exit_code == 2
    assert "serve_keys" in run.output


@pytest.mark.parametrize("text", ["", "\n\n", "# one\n  # two\n", "\ufeff", "kä\n", "a b\n"])
def test_no_keys_by_an_empty_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text, "utf-8")
    run = run_serve(QWEN3_RERANK_SERVE_KEY_FILE=str(file))
    assert run.exit_code == 2
    assert "key" in run.output
    assert "kä" not in run.output


def test_no_key_file_by_mistake() -> None:
    run = run_serve(QWEN3_RERANK_SERVE_KEY_FILE="")
    assert run.exit_code == 2
    assert "serve_key_file" in run.output


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("QWEN3_RERANK_SERVE_KEYZ", "QWEN3_RERANK_SERVE_KEYS"),
        ("QWEN3_RERANK_API_KEYS", "is now QWEN3_RERANK_SERVE_KEYS"),
        ("QWEN3_RERANK_API_KEY_FILE", "is now QWEN3_RERANK_SERVE_KEY_FILE"),
        ("QWEN3_RERANK_MAX_QUEU", "QWEN3_RERANK_MAX_QUEUE"),
        ("QWEN3_RERANK_PROT", "QWEN3_RERANK_PORT"),
        ("QWEN3_RERANK_port", "QWEN3_RERANK_PORT"),
        ("QWEN3_RERANK_HEADERS", "--config"),
        ("QWEN3_RERANK_ON_ERROR", "--config"),
    ],
)
def test_a_misspelt_variable_is_told_its_neighbour(name: str, nearest: str) -> None:
    run = run_serve(**{name: "1"})
    assert run.exit_code == 2
    assert name in run.output.replace("\n", "")
    assert nearest in " ".join(run.output.split())


def test_a_variable_of_somebody_else_is_left_alone_and_told() -> None:
    environment = {"QWEN3_RERANK_FLAVOUR": "x", "QWEN3_RERANK_GPU_PORT_80_TCP_ADDR": "10.0.0.1"}
    assert load_settings({}, environment=environment).port == 8000
    assert unknown_variables(environment) == ["QWEN3_RERANK_FLAVOUR"]


@pytest.mark.parametrize(
    "message",
    [
        "> Authorization: Bearer 5ecret",
        "> Authorization: 5ecret",
        "= authorization : Basic 5ecret==",
        "headers=[(b'authorization', b'Bearer 5ecret'), (b'host', b'x')]",
        "{'X-API-Key': '5ecret', 'host': 'x'}",
        '{"x-api-key": "5ecret"}',
        "Proxy-Authorization: Basic 5ecret",
        "cookie: a=5ecret; b=5ecret",
        "Set-Cookie: a=5ecret",
        "sent Bearer 5ecret to x",
        "api-key=5ecret",
        "X-Auth-Token: 5ecret",
    ],
)
@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
@pytest.mark.parametrize("as_error", [False, True])
def test_no_logger_writes_a_header_s_secret(
    message: str, formatter: logging.Formatter, as_error: bool
) -> None:
    record = logging.LogRecord("any.library", logging.DEBUG, "", 0, "%s", (message,), None)
    if as_error:
        record = logging.LogRecord("any.library", logging.ERROR, "", 0, "failed", (), None)
        error = ValueError(message)
        record.exc_info = (ValueError, error, None)
    line = formatter.format(record)
    assert "5ecret" not in line
    assert "not shown" in line


def test_a_repeated_error_is_written_once() -> None:
    once = OncePerMinute()

    def passes(level: int, message: str) -> bool:
        return once.filter(logging.LogRecord("asyncio", level, "", 0, message, (), None))

    assert [passes(logging.ERROR, "no more files") for _ in range(3)] == [True, False, False]
    assert [passes(logging.INFO, "request") for _ in range(3)] == [True, True, True]
    assert passes(logging.ERROR, "another error")


@pytest.mark.parametrize(
    ("headers", "reaches"),
    [
        ([], False),
        ([(b"authorization", b"Bearer wrong")], False),
        ([(b"authorization", b"Bearer right")], True),
        ([(b"x-api-key", b"right")], True),
    ],
)
def test_a_websocket_needs_a_key(headers: list[tuple[bytes, bytes]], reaches: bool) -> None:
    """Without one it is closed with 1008, and the application behind does not see it."""
    seen: list[str] = []
    sent: list[Message] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "websocket", "path": "/ws", "headers": headers}
    asyncio.run(Guarded(inner, Keys(["right"]))(scope, receive, send))
    assert seen == (["websocket"] if reaches else [])
    assert sent == ([] if reaches else [{"type": "websocket.close", "code": 1008}])
