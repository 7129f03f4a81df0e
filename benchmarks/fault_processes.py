"""The servers of `benchmarks.faults`: this project's service, llama.cpp's, LiteLLM's.

The last two are those of `make test-servers`, which installs them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SERVE = "from qwen3_rerank.cli import main; main()"
_START_SECONDS = 300
_FULL = ("--max-queue", "4")


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Process:
    """A server as a process, always on the same port.

    Attributes:
        health: The page that answers 200 when it takes requests.
        tolerance: How far its logits may be from those of the model.
        asked_with: The client's options for it.
        has_queue: Whether it refuses what is too much for it, if told to.
        behind: The server that it asks, if that is another process.
    """

    health = "/health"
    tolerance = 1e-5  # packs of another make-up round differently
    asked_with: dict[str, Any] = {}  # noqa: RUF012  # read only
    has_queue = False
    behind: Process | None = None

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return what starts it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it; returns at once."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network for prices
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            self.command(), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait_until_ready(self) -> None:
        """Return when it takes requests."""
        deadline = time.monotonic() + _START_SECONDS
        while self.pid is not None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                url = f"http://127.0.0.1:{self.port}{self.health}"
                urllib.request.urlopen(url, timeout=5)
                return
            time.sleep(0.05)
        raise RuntimeError(f"this did not start: {' '.join(self.command())}")

    def fill(self) -> None:
        """Start it again with a queue that is full at once."""

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it, as a machine's failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Service(Process):
    """The service of this project."""

    health = "/health/ready"
    has_queue = True

    def __init__(self, model: str, flags: Sequence[str] = ()) -> None:
        super().__init__()
        self._flags = ["--port", str(self.port), "--model", model, "--device", "cpu"]
        self._flags += ["--dtype", "float32", "--log-level", "error", *flags]

    def command(self) -> list[str]:
        return [sys.executable, "-c", _SERVE, "serve", *self._flags]

    def fill(self) -> None:
        self.kill()
        self._flags += _FULL
        self.start()


class LlamaCpp(Process):
    """llama.cpp's server, with a file that is made of a checkpoint."""

    tolerance = 0.01  # it keeps keys and values in half precision

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="faults-")
        path = Path(self._folder.name) / "reranker.gguf"
        self._command: list[str] = _of_the_tests().llamacpp_command(
            checkpoint, path, "--reranking", port=self.port
        )

    def command(self) -> list[str]:
        return self._command


class LiteLLM(Process):
    """LiteLLM's proxy in front of the service of this project."""

    health = "/health/liveliness"
    tolerance = 1e-3  # it passes on probabilities alone
    has_queue = True

    def __init__(self, behind: Service) -> None:
        super().__init__()
        self.behind = behind
        tests = _of_the_tests()
        self._folder = tempfile.TemporaryDirectory(prefix="faults-")
        model = {"model": "hosted_vllm/tiny", "api_base": f"http://127.0.0.1:{behind.port}"}
        self._command: list[str] = tests.litellm_command(
            {"tiny": model}, Path(self._folder.name), self.port
        )
        self.asked_with = {"model": "tiny", "api_key": tests.KEY}

    def command(self) -> list[str]:
        return self._command

    def fill(self) -> None:
        if self.behind is not None:
            self.behind.fill()


def make(name: str, model: str) -> Process:
    """Return a server, not started, by its name: ``ours``, ``llamacpp`` or ``litellm``."""
    if name == "ours":
        return Service(model)
    if name == "litellm":
        return LiteLLM(Service(model))
    bundled = importlib.import_module("support.checkpoints").BUNDLED
    return LlamaCpp(bundled if model == "tiny" else Path(model))


def _of_the_tests() -> Any:
    """Return what starts servers for the tests: with ``PYTHONPATH=tests``."""
    processes = importlib.import_module("with_servers.processes")
    if not processes.IS_READY:
        raise SystemExit("there are no servers here: run `make test-servers` first")
    return processes
