"""Inputs that are rewritten while a batch reads them, and between two runs of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="no pyarrow here: pip install -e '.[batch]'")

from support.batch_cases import Row, made_rows, write_jsonl, write_parquet
from support.batch_processes import STOP, assert_scores_are_of, begun, ended, words
from support.batch_scorers import Quick

from qwen3_rerank.batch import BatchInputError, BatchProgress, ChangedJobError, run_batch
from qwen3_rerank.batch.blocks import Block
from qwen3_rerank.batch.source import Source
from shared_core import Reranker

# With a field that nobody asked for, so that more is in the file than is read ahead.
ROWS = [row | {"other": "x" * 20_000} for row in made_rows(120, seed=4, per_query=4)]
ROWS[45]["document"] += STOP


def exchanged(rows: list[Row]) -> list[Row]:
    """The same lines, the second half in the reverse order: a file of the same size."""
    return [*rows[:60], *rows[60:][::-1]]


def in_place(path: Path, data: bytes, *, keeps_time: bool) -> None:
    status = path.stat()
    with path.open("r+b") as stream:
        stream.write(data)
        stream.truncate()
    if keeps_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def reordered(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    in_place(path, b"".join([*lines[:60], *lines[60:][::-1]]), keeps_time=True)


def replaced(path: Path) -> None:
    write = write_parquet if path.suffix == ".parquet" else write_jsonl
    other = write(path.with_name(f"other{path.suffix}"), exchanged(ROWS))
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def shifted(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    in_place(path, b"".join(lines[1:] + lines[:1]), keeps_time=False)


def cut_off(path: Path) -> None:
    in_place(path, path.read_bytes()[: path.stat().st_size // 2], keeps_time=False)


def overwritten(path: Path) -> None:
    other = write_parquet(path.with_name("other.parquet"), exchanged(ROWS), row_group_size=30)
    in_place(path, other.read_bytes(), keeps_time=True)


def removed(path: Path) -> None:
    path.unlink()


CHANGES: list[tuple[str, Callable[[Path], None]]] = [
    ("jsonl", reordered),
    ("jsonl", replaced),
    ("jsonl", shifted),
    ("jsonl", cut_off),
    ("jsonl", removed),
    ("parquet", overwritten),
    ("parquet", replaced),
]


@pytest.mark.parametrize(("kind", "change"), CHANGES)
def test_an_input_that_is_rewritten_while_it_is_read_stops_the_job(
    kind: str, change: Callable[[Path], None], tmp_path: Path
) -> None:
    """What was scored before is right; no row is under another row's id, none is there twice."""
    if kind == "jsonl":
        given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    else:
        given = write_parquet(tmp_path / "in.parquet", ROWS, row_group_size=30)
    shutil.copy2(given, tmp_path / "kept")
    out = tmp_path / "out"
    process = begun(given, out, tmp_path / "signals")
    change(given)
    code, said = ended(process, tmp_path / "signals")
    assert code == 1
    assert said.startswith("BatchInputError"), said
    assert str(given) in words(said)
    assert not (out / "summary.json").exists()
    assert 0 < len(assert_scores_are_of(ROWS, out)) < len(ROWS)
    # With the file as it was, the job ends as if nothing had been the matter.
    shutil.copy2(tmp_path / "kept", given)
    with Reranker(scorer=Quick()) as quick, pytest.raises(ChangedJobError, match="backend was"):
        run_batch(given, out, reranker=quick, block_rows=10, measure=False)
    process = begun(given, out, tmp_path / "signals")
    assert ended(process, tmp_path / "signals")[0] == 0
    assert assert_scores_are_of(ROWS, out) == list(range(len(ROWS)))


def stopped_after_one(given: Path, out: Path) -> None:
    class StopError(Exception):
        pass

    def stop(progress: BatchProgress) -> None:
        if progress.blocks_done:
            raise StopError

    with Reranker(scorer=Quick()) as quick, pytest.raises(StopError):
        run_batch(given, out, reranker=quick, block_rows=10, measure=False, on_progress=stop)


@pytest.mark.parametrize("place", ["done", "left"])
def test_a_resumed_job_notices_rows_that_changed_with_size_and_time_kept(
    place: str, tmp_path: Path
) -> None:
    """Also in rows that are done: the output would be of two inputs."""
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    stopped_after_one(given, out)
    lines = given.read_bytes().splitlines(keepends=True)
    at = 1 if place == "done" else 100
    lines[at] = lines[at].replace(b'"document": "', b'"document": "x').replace(b"xx", b"x", 1)
    assert len(b"".join(lines)) == given.stat().st_size
    in_place(given, b"".join(lines), keeps_time=True)
    with (
        Reranker(scorer=Quick()) as quick,
        pytest.raises(ChangedJobError, match=r"in\.jsonl is not what it was"),
    ):
        run_batch(given, out, reranker=quick, block_rows=10, measure=False)


def test_a_file_that_only_moved_to_another_disk_and_back_is_the_same(tmp_path: Path) -> None:
    """Another inode, the same bytes and time: as after a backup was put back."""
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    stopped_after_one(given, out)
    shutil.copy2(given, tmp_path / "copy")
    (tmp_path / "copy").replace(given)
    with Reranker(scorer=Quick()) as quick:
        summary = run_batch(given, out, reranker=quick, block_rows=10, measure=False)
    assert summary.blocks_skipped == 1
    assert assert_scores_are_of(ROWS, out) == list(range(len(ROWS)))


def test_an_input_that_changes_while_it_is_divided_begins_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is rewritten after it was looked up, and before its rows are counted."""
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    divide = Source.blocks

    def blocks(self: Source, size: int, *, cut: bool) -> Iterator[Block]:
        shifted(given)
        return divide(self, size, cut=cut)

    monkeypatch.setattr(Source, "blocks", blocks)
    with Reranker(scorer=Quick()) as quick, pytest.raises(BatchInputError, match="written to"):
        run_batch(given, tmp_path / "out", reranker=quick, measure=False)
    assert not (tmp_path / "out").exists()
