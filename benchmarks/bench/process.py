"""Control of worker processes from the benchmark: start, orders, memory and end."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import psutil

from benchmarks.bench.players.base import Setup
from shared_core.errors import RerankError

_WATCH_SECONDS = 0.01
_LAST_LINES = 12


class ContestantError(RerankError):
    """A contestant failed; the message contains its error text."""


class WorkerProcess:
    """One contestant's process, with the memory that it takes.

    Args:
        python: The interpreter, which decides what can be imported.
        kind: The contestant, see `benchmarks.bench.worker.make_player`.
        setup: The settings of the contestant.
        environment: Variables on top of this process's.
    """

    def __init__(
        self,
        python: str,
        kind: str,
        setup: Setup,
        environment: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._timeout = timeout
        self._log = tempfile.TemporaryFile(  # noqa: SIM115  # closed by `end`
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            [python, "-m", "benchmarks.bench.worker", kind, json.dumps(asdict(setup))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env={**os.environ, **environment},
        )
        self._watched = psutil.Process(self._process.pid)
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.peak_bytes = 0

    def ask(self, **order: Any) -> dict[str, Any]:
        """Return the answer to an order, and record the peak memory in `peak_bytes`.

        Raises:
            ContestantError: The contestant failed, ended, or took too long.
        """
        assert self._process.stdin is not None  # noqa: S101  # opened as a pipe
        family = self._family()
        self.peak_bytes = 0
        deadline = time.monotonic() + self._timeout
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ContestantError(self._last_words()) from error
        while True:
            try:
                line = self._answers.get(timeout=_WATCH_SECONDS)
            except queue.Empty:
                self.peak_bytes = max(self.peak_bytes, _memory(family))
                if time.monotonic() > deadline:
                    raise ContestantError(f"no answer in {self._timeout:.0f} s") from None
                continue
            break
        if not line:
            raise ContestantError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContestantError(answer["error"])
        self.peak_bytes = max(self.peak_bytes, self.memory())
        return answer

    def memory(self) -> int:
        """Return the bytes in memory now: resident, of the process and its children."""
        return _memory(self._family())

    def end(self) -> None:
        """End the process and its children."""
        family = self._family()
        with suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101  # opened as a pipe
            self._process.stdin.close()
        _, alive = psutil.wait_procs(family, timeout=30)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  # opened as a pipe
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _family(self) -> list[psutil.Process]:
        try:
            return [self._watched, *self._watched.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()[-_LAST_LINES:]
        return "\n".join([f"its process ended with {self._process.returncode}", *lines])


def _memory(family: list[psutil.Process]) -> int:
    total = 0
    for process in family:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_info().rss
    return total


def can_import(python: str, module: str) -> bool:
    """Return whether an interpreter finds a module, without importing it."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    if python == sys.executable:
        import importlib.util

        return importlib.util.find_spec(module) is not None
    return subprocess.run([python, "-c", code], check=False).returncode == 0  # noqa: S603
