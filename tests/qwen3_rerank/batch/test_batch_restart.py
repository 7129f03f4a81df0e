"""A job that was stopped, killed or damaged goes on with what is missing, and with nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.batch_cases import Row, made_rows, read_parts, write_jsonl, write_parquet
from support.batch_scorers import Quick

from qwen3_rerank.batch import BatchProgress, ChangedJobError, LockedError, run_batch
from shared_core import Reranker

ROWS = made_rows(120, seed=9, per_query=6)
PATIENCE = 120  # seconds


def parts(out: Path) -> dict[str, tuple[int, bytes]]:
    """Every part with its time and its bytes."""
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted((out / "scores").iterdir())
    }


def without_time(found: dict[str, tuple[int, bytes]]) -> dict[str, bytes]:
    return {name: data for name, (_, data) in found.items()}


class StopError(Exception):
    """Raised in the middle."""


def stop_after(count: int) -> Any:
    def on_progress(progress: BatchProgress) -> None:
        if progress.blocks_done >= count:
            raise StopError

    return on_progress


def test_a_restart_does_only_what_is_missing_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    given = write_parquet(tmp_path / "in.parquet", ROWS)
    with Reranker(scorer=Quick()) as reranker:
        asked: dict[str, Any] = {"reranker": reranker, "block_rows": 10, "measure": False}
        run_batch(given, tmp_path / "whole", **asked)
        out = tmp_path / "out"
        with pytest.raises(StopError):
            run_batch(given, out, **asked, on_progress=stop_after(4))
        before = parts(out)
        assert len(before) == 4
        summary = run_batch(given, out, **asked)
        assert summary.blocks_skipped == 4
        after = parts(out)
        assert {name: after[name] for name in before} == before
        assert without_time(after) == without_time(parts(tmp_path / "whole"))
        (out / "scores" / "part-000002.parquet").unlink()
        summary = run_batch(given, out, **asked)
        assert summary.blocks_skipped == summary.blocks - 1
        again = parts(out)
        changed = [name for name in again if again[name] != after.get(name)]
        assert changed == ["part-000002.parquet"]
        assert without_time(again) == without_time(after)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_rows": 11}, "block_rows was 10 and is 11"),
        ({"format": "jsonl"}, "format was 'parquet' and is 'jsonl'"),
        ({"output": "ranked"}, "output was 'scores' and is 'ranked'"),
        ({"instruction": "another"}, "instruction was None and is 'another'"),
        ({"model": "another"}, "model was .* and is 'another'"),
        ({"input": "appended"}, "in.jsonl has changed"),
        ({"input": "another"}, "in.jsonl is not in the input any more"),
    ],
)
def test_another_job_in_the_same_folder_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    with Reranker(scorer=Quick()) as reranker:
        asked: dict[str, Any] = {"block_rows": 10, "measure": False}
        run_batch(given, out, reranker=reranker, **asked)
    before = parts(out)
    what = change.pop("input", None)
    if what == "appended":
        with given.open("a") as stream:
            stream.write('{"query": "q", "document": "d"}\n')
    elif what == "another":
        given = write_jsonl(tmp_path / "other.jsonl", ROWS)
    mine = {name: change.pop(name) for name in ("instruction", "model") if name in change}
    with (
        Reranker(scorer=Quick(), **mine) as reranker,
        pytest.raises(ChangedJobError, match=message),
    ):
        run_batch(given, out, reranker=reranker, **(asked | change))
    assert parts(out) == before


def test_where_and_how_fast_may_change(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    with Reranker(scorer=Quick()) as reranker:
        run_batch(given, out, reranker=reranker, measure=False)
    with Reranker(scorer=Quick(), max_batch_tokens=9, timeout=3, device="cpu") as reranker:
        assert run_batch(given, out, reranker=reranker, measure=False).blocks_skipped == 1


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    (tmp_path / "thesis.txt").write_text("years of work")
    with (
        Reranker(scorer=Quick()) as reranker,
        pytest.raises(ChangedJobError, match="is not empty"),
    ):
        run_batch(given, tmp_path, reranker=reranker)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == [
        "in.jsonl",
        "thesis.txt",
    ]


def command(given: Path, out: Path) -> list[str]:
    program = "from qwen3_rerank.cli import main; main()"
    flags = ["--model", "tiny", "--device", "cpu", "--dtype", "float32", "--block-rows", "8"]
    return [sys.executable, "-c", program, "batch", str(given), str(out), *flags, "--no-measure"]


def wait_for_parts(process: subprocess.Popen[bytes], out: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    folder = out / "scores"
    while not folder.is_dir() or len(list(folder.iterdir())) < count:
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_driver_loses_nothing_and_its_lock(tmp_path: Path, tiny: Reranker) -> None:
    """A real process; while it works another one is refused, after kill -9 one goes on."""
    rows = made_rows(240, seed=2, per_query=8)
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    process = subprocess.Popen(command(given, out), stderr=subprocess.DEVNULL)
    try:
        wait_for_parts(process, out, 3)
        with pytest.raises(LockedError, match=f"process {process.pid} on "):
            run_batch(given, out, reranker=tiny, block_rows=8, measure=False)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = parts(out)
    (out / ".tmp" / "part-000000.parquet.left").write_bytes(b"half")
    done = subprocess.run(command(given, out), capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert not list((out / ".tmp").iterdir())
    after = parts(out)
    assert 3 <= len(before) < len(after)
    assert {name: after[name] for name in before} == before
    run_batch(given, tmp_path / "whole", reranker=tiny, block_rows=8, measure=False)
    found, expected = read_parts(out / "scores"), read_parts(tmp_path / "whole" / "scores")
    assert [row["row"] for row in found] == list(range(240))
    assert _margins(found) == pytest.approx(_margins(expected), abs=1e-5)


def _margins(rows: list[Row]) -> list[float]:
    return [row["logit"] for row in rows]


def test_a_disk_without_room_leaves_no_half_part(tmp_path: Path) -> None:
    """A limit on the size of files stands for it: writing fails in the middle of a part."""
    given = write_jsonl(tmp_path / "in.jsonl", made_rows(500, seed=2))
    out = tmp_path / "out"
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "from support.batch_scorers import Quick; from shared_core import Reranker\n"
        "from qwen3_rerank.batch import run_batch\n"
        f"run_batch({str(given)!r}, {str(out)!r}, reranker=Reranker(scorer=Quick()), measure=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=False,
        timeout=PATIENCE,
        cwd=Path(__file__).parents[2],
    )
    assert f"File too large: '{out}/scores/part-000000.parquet'".encode() in done.stderr
    assert not list((out / "scores").iterdir())
    with Reranker(scorer=Quick()) as reranker:
        assert run_batch(given, out, reranker=reranker, measure=False).pairs == 500
    assert len(read_parts(out / "scores")) == 500


def test_sigterm_ends_it_as_a_stop_and_not_as_a_failure(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", made_rows(2000, seed=2, per_query=8))
    out = tmp_path / "out"
    process = subprocess.Popen(command(given, out), stderr=subprocess.PIPE)
    wait_for_parts(process, out, 2)
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in said
    assert b"stopped; what is done is done: the same command goes on from there" in said


def test_the_lock_of_this_very_process_counts_too(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    with Reranker(scorer=Quick()) as reranker:

        def again(_: BatchProgress) -> None:
            with pytest.raises(LockedError, match=f"process {os.getpid()} on "):
                run_batch(given, out, reranker=reranker, measure=False)
            raise StopError

        with pytest.raises(StopError):
            run_batch(given, out, reranker=reranker, measure=False, on_progress=again)
        assert run_batch(given, out, reranker=reranker, measure=False).pairs == 120
