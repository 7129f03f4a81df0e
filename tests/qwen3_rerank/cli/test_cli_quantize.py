"""`qwen3-rerank quantize`: a folder that scores as the model does in eight bits."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.prepared_command import run_command

from shared_core import Reranker


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("quantize", *arguments)


def test_a_model_is_written_once_and_scores_alike(tmp_path: Path) -> None:
    folder = tmp_path / "int8"
    done = run("tiny", str(folder))
    assert (done.returncode, done.stdout) == (0, f"{folder}\n"), done.stderr
    with (
        Reranker(str(folder), dtype="float32") as written,
        Reranker("tiny", dtype="float32", quantize="int8") as source,
    ):
        assert written.score("tea", ["tea", "bread"]) == source.score("tea", ["tea", "bread"])
    again = run("tiny", str(folder))
    assert again.returncode == 2
    assert "there already" in again.stderr


def test_a_model_that_is_not_there_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    done = run(str(tmp_path / "nowhere"), str(tmp_path / "int8"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert list(tmp_path.iterdir()) == []
