"""`warm-up` as a process: it loads, scores, and says what it did."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.prepared_command import run_command

ENVIRONMENT = {**os.environ, "COLUMNS": "300", "NO_COLOR": "1"}


@pytest.mark.parametrize("named", ["tiny", "a folder"])
def test_a_model_is_loaded_and_scores(named: str, checkpoint: Path) -> None:
    model = "tiny" if named == "tiny" else str(checkpoint)
    done = run_command(
        *("warm-up", model, "--device", "cpu", "--dtype", "float32"), environment=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    loaded, scored = done.stdout.splitlines()
    expected = r"in \d+\.\d s \(backend transformers, dtype float32, device cpu, files \S+\)"
    assert loaded.startswith(f"loaded {model} ")
    assert re.search(expected, loaded)
    assert re.fullmatch(r"scored the first passages in \d+\.\d\d s", scored)


def test_what_cannot_be_loaded_exits_with_2(tmp_path: Path) -> None:
    done = run_command("warm-up", str(tmp_path), environment=ENVIRONMENT)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error:" in done.stderr
