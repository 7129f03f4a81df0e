"""The README's code runs and prints what the README says it prints.

Scores may differ by `ROUNDING`: a processor that computes in bfloat16 is used in bfloat16.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"
# A python block, and the text block right behind it where there is one.
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
DECIMAL = re.compile(r"\d\.\d{3}\b")
ROUNDING = 0.02
BLOCKS = BLOCK.findall(README.read_text(encoding="utf-8"))


def test_the_readme_shows_printed_output() -> None:
    assert sum(bool(printed) for _, printed in BLOCKS) >= 2


@pytest.mark.parametrize(("code", "printed"), BLOCKS, ids=range(len(BLOCKS)))
def test_a_code_block_prints_what_is_shown(code: str, printed: str, tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert finished.returncode == 0, finished.stderr
    if printed:
        assert DECIMAL.sub("#", finished.stdout) == DECIMAL.sub("#", printed)
        assert [float(one) for one in DECIMAL.findall(finished.stdout)] == pytest.approx(
            [float(one) for one in DECIMAL.findall(printed)], abs=ROUNDING
        )
