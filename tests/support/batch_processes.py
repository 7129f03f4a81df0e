"""Batches in processes of their own, which can be made to wait in the middle of a block."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import prepared_command
from support.batch_cases import Row, read_parts
from support.batch_scorers import Quick, margin

from qwen3_rerank.batch import run_batch
from shared_core import Reranker

PATIENCE = 280  # seconds
STOP = "STOP-HERE"
_STEP = 0.02


@dataclass
class Waiting(Quick):
    """Waits at a document with a word in it until a file is there.

    Attributes:
        folder: Where the file ``reached`` appears, and ``go`` is awaited.
    """

    folder: Path

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        if any(STOP in document for document in documents):
            (self.folder / "reached").touch()
            wait_for(self.folder / "go")
        return super().score(query, documents, instruction=instruction)


def wait_for(path: Path, process: subprocess.Popen[str] | None = None) -> None:
    """Return when a file is there; fail if a process ends before that, or after a time."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(_STEP)


def begun(
    given: Path, out: Path, signals: Path, *, block_rows: int = 10, **asked: Any
) -> subprocess.Popen[str]:
    """Return a process that runs a batch, and is at a document with `STOP` now."""
    signals.mkdir(exist_ok=True)
    code = (
        "import sys; from pathlib import Path\n"
        "from support.batch_processes import Waiting, Reranker, run_batch\n"
        "from shared_core import RerankError\n"
        "try:\n"
        f"    run_batch({str(given)!r}, {str(out)!r}, measure=False, block_rows={block_rows},\n"
        f"        reranker=Reranker(scorer=Waiting(Path({str(signals)!r}))), **{asked!r})\n"
        "except RerankError as error:\n"
        "    sys.exit(f'{type(error).__name__}: {error}')\n"
    )
    process = started(code)
    wait_for(signals / "reached", process)
    return process


def ended(process: subprocess.Popen[str], signals: Path) -> tuple[int, str]:
    """Let a process go on, and return its exit code and what it said."""
    (signals / "go").touch()
    _, said = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def started(code: str) -> subprocess.Popen[str]:
    """Return a process that runs a program, with the modules of these tests."""
    paths = f"import sys; sys.path[:0] = {sys.path!r}\n"
    return subprocess.Popen(
        [sys.executable, "-c", paths + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_command(*arguments: str | Path, code: str = "") -> subprocess.CompletedProcess[str]:
    """Return what became of ``qwen3-rerank`` with arguments, after a program before it."""
    environment = {**os.environ, "COLUMNS": "500"}  # no path is broken into lines
    if not code:
        return prepared_command.run_command(*arguments, environment=environment)
    main = "from qwen3_rerank.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", f"{code}\n{main}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=environment,
    )


def words(text: str) -> str:
    """Return a text without the line breaks that a terminal put into it."""
    return " ".join(text.split())


def tree(folder: Path) -> dict[str, Any]:
    """Return all that is in a folder, hidden or not: bytes of files, targets of links."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else path.stat().st_mode
        for path in sorted(folder.rglob("*"))
    }


def assert_scores_are_of(rows: Sequence[Row], out: Path) -> list[int]:
    """Check that every row that was scored has the score of its own texts; return which."""
    found = read_parts(out / "scores")
    for row in found:
        given = rows[row["row"]]
        assert row["document_id"] == given["document_id"]
        assert row["logit"] == margin(given["query"], given["document"]), row["row"]
    numbers = [row["row"] for row in found]
    assert len(set(numbers)) == len(numbers)
    return numbers


__all__ = ["Reranker", "Waiting", "run_batch"]
