"""Damaged inputs, damaged folders and full disks: named, and survived where that can be."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="no pyarrow here: pip install -e '.[batch]'")

import pyarrow.parquet as pq
from support.batch_cases import made_rows, read_parts, write_jsonl, write_parquet
from support.batch_processes import (
    PATIENCE,
    assert_scores_are_of,
    run_command,
    started,
    words,
)
from support.batch_scorers import Quick

from qwen3_rerank.batch import BatchError, BatchInputError, ChangedJobError, run_batch
from shared_core import Reranker

ROWS = made_rows(90, seed=12, per_query=4)
GROUP = 10  # rows of a row group
UNSHARE = [shutil.which("unshare") or "/bin/false", "-rm"]


def damaged(path: Path, column: str, group: int) -> None:
    """Overwrite the middle of a column's pages in one row group."""
    metadata = pq.ParquetFile(path).metadata
    row_group = metadata.row_group(group)
    chunk = next(
        row_group.column(n)
        for n in range(row_group.num_columns)
        if row_group.column(n).path_in_schema == column
    )
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    with path.open("r+b") as stream:
        stream.seek(begin)
        stream.write(b"\xff" * chunk.total_compressed_size)


def run(given: Any, out: Path, **asked: Any) -> Any:
    with Reranker(scorer=Quick()) as quick:
        return run_batch(
            given, out, reranker=quick, **({"measure": False, "block_rows": 7} | asked)
        )


@pytest.mark.parametrize("column", ["document", "query_id"])
@pytest.mark.parametrize("compression", ["snappy", "zstd"])
def test_a_damaged_page_costs_the_rows_behind_it_in_its_row_group(
    column: str, compression: str, tmp_path: Path
) -> None:
    """Three files; of the second one the fourth row group, 30 to 39 of its rows."""
    for number in range(3):
        write_parquet(
            tmp_path / f"in{number}.parquet",
            ROWS,
            row_group_size=GROUP,
            compression=compression,
            use_dictionary=False,
        )
    damaged(tmp_path / "in1.parquet", column, 3)
    lost = set(range(90 + 30, 90 + 40))
    out = tmp_path / "out"
    summary = run([tmp_path / f"in{number}.parquet" for number in range(3)], out)
    assert (summary.rows, summary.pairs, summary.errors) == (270, 260, 10)
    assert assert_scores_are_of(ROWS * 3, out) == [n for n in range(270) if n not in lost]
    named = read_parts(out / "errors")
    assert {row["row"] for row in named} == lost
    reasons = {row["reason"] for row in named}
    assert all(f"{tmp_path / 'in1.parquet'}, row group 3, cannot be read" in one for one in reasons)


def test_the_command_names_a_damaged_page_and_exits_with_1(tmp_path: Path) -> None:
    given = write_parquet(tmp_path / "in.parquet", ROWS, row_group_size=GROUP)
    damaged(given, "document", 2)
    flags = ("--model", "tiny", "--device", "cpu", "--no-measure", "--json")
    done = run_command("batch", given, tmp_path / "out", *flags)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["errors"] == GROUP
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl.gz"])
@pytest.mark.parametrize("how", ["cut off", "overwritten"])
def test_a_file_that_cannot_be_divided_is_named_and_begins_nothing(
    name: str, how: str, tmp_path: Path
) -> None:
    given = tmp_path / name
    if name.endswith(".gz"):
        lines = "".join(json.dumps(row) + "\n" for row in made_rows(3000, seed=1))
        given.write_bytes(gzip.compress(lines.encode()))
    else:
        write_parquet(given, ROWS)
    data = given.read_bytes()
    half = len(data) // 2
    given.write_bytes(data[:half] if how == "cut off" else data[:half] + bytes(half))
    with pytest.raises(BatchInputError, match=str(given)):
        run(given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def begin(tmp_path: Path) -> tuple[Path, Path]:
    """Do a job but for one block."""
    given, out = write_jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "out"
    run(given, out)
    (out / "scores" / "part-000002.parquet").unlink()
    return given, out


@pytest.mark.parametrize("data", [b"", b'{"version": 2, "iden', b"[]", b"\xff\xfe", b"null"])
@pytest.mark.parametrize("name", ["manifest.json", "blocks.jsonl", "scoring.json"])
def test_a_torn_file_of_the_job_is_named_with_what_to_do(
    name: str, data: bytes, tmp_path: Path
) -> None:
    given, out = begin(tmp_path)
    (out / name).write_bytes(data)
    parts = {path.name: path.read_bytes() for path in (out / "scores").iterdir()}
    with pytest.raises(BatchError, match=str(out / name)) as caught:
        run(given, out)
    assert "damaged" in str(caught.value)
    if name == "scoring.json":
        (out / name).unlink()
        with pytest.raises(ChangedJobError, match="by which model the scores were made"):
            run(given, out)
    assert {path.name: path.read_bytes() for path in (out / "scores").iterdir()} == parts


def test_the_command_says_in_words_what_is_torn(tmp_path: Path) -> None:
    given, out = begin(tmp_path)
    (out / "manifest.json").write_bytes((out / "manifest.json").read_bytes()[:100])
    done = run_command("batch", given, out, "--model", "tiny", "--no-measure")
    assert done.returncode == 2
    assert f"{out}/manifest.json is damaged" in words(done.stderr)
    assert "or give another folder" in words(done.stderr)


@pytest.mark.parametrize("data", [b"", b'{"number": 1,', None])
def test_lost_counts_of_a_block_are_named_and_had_again_by_doing_it_again(
    data: bytes | None, tmp_path: Path
) -> None:
    given, out = begin(tmp_path)
    state = out / ".state" / "000001.json"
    state.unlink() if data is None else state.write_bytes(data)
    with pytest.raises(
        BatchError, match=r"000001\.json.* is damaged or gone: delete .*part-000001"
    ):
        run(given, out)
    (out / "scores" / "part-000001.parquet").unlink()
    assert run(given, out).pairs == len(ROWS)
    assert assert_scores_are_of(ROWS, out) == list(range(len(ROWS)))


def test_a_division_that_lost_a_line_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    given, out = begin(tmp_path)
    lines = (out / "blocks.jsonl").read_bytes().splitlines(keepends=True)
    (out / "blocks.jsonl").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(ChangedJobError, match=r"blocks\.jsonl, the division of the input, is dama"):
        run(given, out)


SMALL_DISK = """
set -e
mount -t tmpfs -o size={size} tmpfs {disk}
set +e
{python} -c {first}
echo "exit $?"
ls {disk}/out/scores 2>/dev/null | wc -l
find {disk}/out/.tmp {disk}/out/.grouped -type f 2>/dev/null | wc -l
mount -o remount,size=64m {disk}
{python} -c {again}
echo "exit $?"
cp -r {disk}/out {kept}
"""


@pytest.mark.parametrize("group", ["never", "always"])
def test_a_full_disk_is_named_and_the_job_goes_on_when_there_is_room(
    group: str, tmp_path: Path
) -> None:
    """A file system of some pages, in a namespace of its own; then it is enlarged."""
    if not can_mount(tmp_path):
        pytest.skip("needs a machine where users may mount: outside of a container, as root")
    rows = made_rows(3000, seed=2)
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir(exist_ok=True)
    code = shlex.quote(
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from support.batch_scorers import Quick; from shared_core import Reranker\n"
        "from qwen3_rerank.batch import run_batch\n"
        "try:\n"
        f"    run_batch({str(given)!r}, {str(disk / 'out')!r}, reranker=Reranker(scorer=Quick()),\n"
        f"        measure=False, block_rows=100, group={group!r})\n"
        "except OSError as error:\n"
        "    print(error.strerror, 'at', error.filename)\n"
        "    sys.exit(2)\n"
    )
    script = SMALL_DISK.format(
        size="160k" if group == "never" else "300k",
        disk=disk,
        kept=kept,
        python=sys.executable,
        first=code,
        again=code,
    )
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    said = done.stdout.splitlines()
    assert said[0].startswith(f"No space left on device at {disk}/out/"), done
    assert said[1] == "exit 2"
    if group == "never":
        assert 0 < int(said[2]) < 30
        assert said[3] == "0"
    assert said[-1] == "exit 0"
    found = sorted(assert_scores_are_of(rows, kept))
    assert found == list(range(len(rows)))


def can_mount(tmp_path: Path) -> bool:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_disk_that_fills_up_in_an_evaluation_is_named_by_the_command(tmp_path: Path) -> None:
    """A limit on the size of files stands for it."""
    corpus = [{"_id": f"d{n}", "text": row["document"]} for n, row in enumerate(ROWS)]
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    write_jsonl(data / "corpus.jsonl", corpus)
    queries = [{"_id": f"q{n}", "text": "what is tea?"} for n in range(9)]
    write_jsonl(data / "queries.jsonl", queries)
    lines = [f"q{n}\td0\t1\n" for n in range(9)]
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    process = started(
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from qwen3_rerank.cli import main\n"
        f"sys.argv = ['x', 'evaluate', {str(data)!r}, '--out', {str(tmp_path / 'report')!r},\n"
        "    '--model', 'tiny', '--device', 'cpu']\n"
        "main()"
    )
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "report/results.jsonl: File too large" in said.replace("\n", "")
    assert "Traceback" not in said
