"""The service, listening on loopback: in a thread of the tests, or as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from qwen3_rerank.service.server import Server

COMMAND = "from qwen3_rerank.cli import main; main()"
START_SECONDS = 180
MAX_LENGTH = 300


class Running:
    """A service in a thread."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.service = server.service
        self._thread = threading.Thread(target=server.run, daemon=True)
        self._thread.start()
        self.url = ""
        deadline = time.monotonic() + START_SECONDS
        while self.service.state == "loading" or not server.started:
            assert time.monotonic() < deadline, self.service.state
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(60)


class Process:
    """A service as a process, started by its command."""

    def __init__(self, log: Path, *flags: str, **environment: str) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", COMMAND, "serve", "--port", "0", "--device", "cpu", *flags],
                env={**os.environ, **environment},
                stderr=stderr,
                stdout=subprocess.DEVNULL,
            )
        self.url = f"http://127.0.0.1:{self._port()}"

    def lines(self) -> list[dict[str, Any]]:
        """The log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"]

    def wait_until_ready(self) -> None:
        assert self.wait_until_loaded() == "ready", self.log.read_text()

    def wait_until_loaded(self) -> str:
        """Return its state when it is no longer loading: ``ready`` or ``failed``."""
        deadline = time.monotonic() + START_SECONDS
        health = f"{self.url}/health/ready"
        while (state := httpx.get(health, timeout=60).json()["status"]) == "loading":
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return str(state)

    def terminate(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def _port(self) -> int:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.popen.poll() is None:
            for line in self.lines():
                if line["message"].startswith("listening on"):
                    return int(line["message"].split()[-1])
            time.sleep(0.05)
        self.popen.kill()
        raise AssertionError(self.log.read_text())


Run = Callable[..., Running]
