"""What a batch takes of memory does not grow with its input: peaks of real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 15_000
ROW_BYTES = 10_000  # 150 MB in all
GROWTH = 64 << 20
SMALL = 3_000

# The scorer is quick, so that all there is to see is reading, dividing, grouping and writing.
PROGRAM = """
import sys
from pathlib import Path
from support.batch_scorers import Quick
from shared_core import Reranker
from qwen3_rerank.batch import run_batch
given, out, group, output = sys.argv[1:]
summary = run_batch(
    given, out, reranker=Reranker(scorer=Quick()), group=group, output=output, measure=False
)
# Not getrusage: its peak is also that of the process that this one was forked from.
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(summary.rows, int(peak.split()[1]) * 1024)
"""


def write(path: Path, rows: int, kind: str) -> Path:
    """Rows of 10 kB that no compression makes small, one row group in all; written in pieces."""
    noise = "".join(chr(33 + (n * n * 31 + n * 7) % 90) for n in range(ROW_BYTES + rows))
    schema = pa.schema(
        [("query_id", pa.int64()), ("query", pa.string()), ("document", pa.string())]
    )

    def columns(start: int, stop: int) -> dict[str, Any]:
        numbers = [n % 400 for n in range(start, stop)]  # scattered, so that grouping has to work
        return {
            "query_id": numbers,
            "query": [f"what is {n}?" for n in numbers],
            "document": [noise[n : n + ROW_BYTES] for n in range(start, stop)],
        }

    if kind == "jsonl":
        with path.open("wb") as stream:
            for start in range(0, rows, 1000):
                part = pa.table(columns(start, min(rows, start + 1000)), schema).to_pylist()
                stream.writelines(json.dumps(row).encode() + b"\n" for row in part)
        return path
    table = pa.table(columns(0, rows), schema)
    pq.write_table(table, path, row_group_size=rows, compression="none", use_dictionary=False)
    return path


def peak(given: Path, out: Path, group: str, output: str) -> int:
    """Bytes that a process has at its most."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(given), str(out), group, output],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stderr
    rows, size = run.stdout.split()
    assert int(rows) > 0
    return int(size)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, which has /proc")
@pytest.mark.parametrize(
    ("kind", "group", "output"),
    [
        ("parquet", "never", "scores"),
        ("jsonl", "never", "scores"),
        ("parquet", "auto", "ranked"),
    ],
)
def test_the_peak_does_not_grow_with_the_input(
    kind: str, group: str, output: str, tmp_path: Path
) -> None:
    """The input is more than twice what the process may grow by."""
    large = write(tmp_path / f"large.{kind}", ROWS, kind)
    small = write(tmp_path / f"small.{kind}", SMALL, kind)
    assert large.stat().st_size > 2 * GROWTH
    least = peak(small, tmp_path / "small", group, output)
    most = peak(large, tmp_path / "large", group, output)
    large.unlink()
    assert most - least < GROWTH, f"{most - least:,} bytes more for {ROWS - SMALL:,} rows more"
