"""Output folders in which somebody put links, pipes and second names of other people's files.

Nothing outside of the folder may be read into it, written, emptied or removed; a pipe may not make
a process wait.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="no pyarrow here: pip install -e '.[batch]'")
if os.name == "nt":
    pytest.skip("needs a Unix system, for its links and pipes", allow_module_level=True)

from support.batch_cases import made_rows, read_parts, write_jsonl
from support.batch_processes import PATIENCE, run_command, started, tree, words
from support.batch_scorers import Quick

from qwen3_rerank.batch import run_batch
from shared_core import Reranker

ROWS = made_rows(30, seed=6, per_query=4)
FOLDERS = [".tmp", ".state", "scores", "errors"]
FILES = [".lock", ".owner", "manifest.json", "blocks.jsonl", "scoring.json", "summary.json"]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of somebody else's, with files that a batch could take for its own."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("thesis.txt", "000000.json", "part-000000.parquet", "part-000000.jsonl"):
        (folder / name).write_text(f"years of work: {name}")
    return folder


def symbolic(path: Path, victim: Path) -> None:
    path.symlink_to(victim if path.name in FOLDERS else victim / "thesis.txt")


def directory(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "new file")


def hard(path: Path, victim: Path) -> None:
    path.hardlink_to(victim / "thesis.txt")


def pipe(path: Path, victim: Path) -> None:
    del victim
    os.mkfifo(path)


CASES: list[tuple[str, Callable[[Path, Path], None]]] = [
    *((name, symbolic) for name in [*FOLDERS, *FILES]),
    *((name, how) for how in (dangling, hard, pipe) for name in FILES),
    *((name, pipe) for name in FOLDERS),
]


def batches(given: Path, outs: list[Path]) -> list[str]:
    """Return what a process says of each batch that it runs: nothing, if it was done."""
    code = (
        "import json\n"
        "from support.batch_scorers import Quick; from shared_core import Reranker, RerankError\n"
        "from qwen3_rerank.batch import run_batch\n"
        "reranker, said = Reranker(scorer=Quick()), []\n"
        f"for out in {[str(out) for out in outs]!r}:\n"
        "    try:\n"
        f"        run_batch({str(given)!r}, out, reranker=reranker, block_rows=10, measure=False)\n"
        "        said.append('')\n"
        "    except RerankError as error:\n"
        "        said.append(f'{type(error).__name__}: {error}')\n"
        "print(json.dumps(said))\n"
    )
    printed, failed = started(code).communicate(timeout=PATIENCE)
    assert failed == ""
    said: list[str] = json.loads(printed)
    return said


def test_links_in_a_new_folder_lead_nowhere(tmp_path: Path, victim: Path) -> None:
    """Prepared before the batch begins, one by one; the process ends within its time."""
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    before = tree(victim)
    outs = [tmp_path / f"out{number}" for number in range(len(CASES))]
    for out, (name, put) in zip(outs, CASES, strict=True):
        out.mkdir()
        put(out / name, victim)
    for out, (name, _), said in zip(outs, CASES, batches(given, outs), strict=True):
        assert_refused_or_done(said, out, name)
    assert tree(victim) == before


@pytest.mark.parametrize("is_done", [False, True])
def test_links_in_the_folder_of_a_job_lead_nowhere(
    is_done: bool, tmp_path: Path, victim: Path
) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    before = tree(victim)
    outs = [tmp_path / f"out{number}" for number in range(len(CASES))]
    for number, (out, (name, put)) in enumerate(zip(outs, CASES, strict=True)):
        with Reranker(scorer=Quick()) as quick:
            run_batch(given, out, reranker=quick, block_rows=10, measure=False)
        if not is_done:
            (out / "scores" / "part-000001.parquet").unlink()
        if (out / name).is_dir():
            (out / name).rename(tmp_path / f"old{number}")
        (out / name).unlink(missing_ok=True)
        put(out / name, victim)
    for out, (name, _), said in zip(outs, CASES, batches(given, outs), strict=True):
        assert_refused_or_done(said, out, name)
    assert tree(victim) == before


def assert_refused_or_done(said: str, out: Path, name: str) -> None:
    """It says what is there, or put its own file in the place of the link."""
    if said:
        assert said.startswith(("FolderError: ", "ChangedJobError: ")), said
        assert str(out) in said
    else:
        assert [row["row"] for row in read_parts(out / "scores")] == list(range(len(ROWS)))
        path = out / name
        assert not path.is_symlink()
        assert path.is_dir() if name in FOLDERS else not path.exists() or path.stat().st_nlink == 1


def test_a_refused_command_changes_nothing_at_all(tmp_path: Path, victim: Path) -> None:
    """A folder that holds no batch, with links to what the command would clear and write."""
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("another one")
    (out / ".tmp").symlink_to(victim)
    (out / ".owner").symlink_to(victim / "thesis.txt")
    before = tree(tmp_path)
    done = run_command("batch", given, out, "--model", "tiny", "--no-measure")
    assert done.returncode == 2
    assert "is not empty" in words(done.stderr)
    assert tree(tmp_path) == before


def test_an_output_folder_that_is_a_link_is_the_folder_it_leads_to(tmp_path: Path) -> None:
    """Whoever names it means that one; nothing in it is a link then."""
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert batches(given, [tmp_path / "out"]) == [""]
    assert (tmp_path / "out").is_symlink()
    assert len(read_parts(tmp_path / "disk" / "scores")) == len(ROWS)


# Evaluations.

EVALUATION = """
import sys, time
from pathlib import Path
from support.batch_processes import wait_for
from shared_core import Reranker, RerankError
from qwen3_rerank.evaluation import Dataset, evaluate

class Slow:
    def score(self, query, documents, *, instruction):
        if query == "two" and {wait}:
            (Path({signals!r}) / "reached").touch()
            wait_for(Path({signals!r}) / "go")
        return [float(len(one)) for one in documents]

data = Dataset("made", {{"d1": "tea", "d2": "more tea"}}, {{"one": "one", "two": "two"}},
    {{"one": {{"d1": 1}}, "two": {{"d2": 1}}}})
for out in {outs!r}:
    try:
        evaluate(Reranker(scorer=Slow()), data, out=out,
            first_stage={{"one": ["d1", "d2"], "two": ["d1", "d2"]}})
        print()
    except (RerankError, ValueError) as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


def evaluations(*outs: Path, signals: Path, wait: bool = False) -> subprocess.Popen[str]:
    """Return a process that evaluates into folders, and prints a line of each: why not, if so."""
    names = [str(out) for out in outs]
    return started(EVALUATION.format(outs=names, signals=str(signals), wait=wait))


def test_links_in_the_folder_of_an_evaluation_lead_nowhere(tmp_path: Path, victim: Path) -> None:
    before = tree(victim)
    names = ("results.jsonl", ".lock", ".owner", "report.json", "report.html", "timing.json")
    cases = [(name, put) for put in (symbolic, hard) for name in names]
    cases += [("runs", directory), (".report.json.new", symbolic), ("results.jsonl", pipe)]
    outs = [tmp_path / f"out{number}" for number in range(len(cases))]
    for out, (name, put) in zip(outs, cases, strict=True):
        out.mkdir()
        put(out / name, victim)
    printed, failed = evaluations(*outs, signals=tmp_path).communicate(timeout=PATIENCE)
    assert failed == ""
    assert tree(victim) == before
    for out, (name, _), said in zip(outs, cases, printed.splitlines(), strict=True):
        if said:
            assert said.startswith(("FolderError: ", "InputError: ")), said
            assert str(out) in said
        else:
            assert not (out / name).is_symlink() or name.endswith(".new")
            assert json.loads((out / "report.json").read_text())["version"]


def test_two_evaluations_never_work_in_one_folder(tmp_path: Path) -> None:
    from support.batch_processes import wait_for

    out = tmp_path / "out"
    first = evaluations(out, signals=tmp_path, wait=True)
    wait_for(tmp_path / "reached", first)
    before = tree(out)
    said, _ = evaluations(out, signals=tmp_path).communicate(timeout=PATIENCE)
    assert f"LockedError: {out} is worked on by process {first.pid} on " in said
    assert tree(out) == before
    (tmp_path / "go").touch()
    said, failed = first.communicate(timeout=PATIENCE)
    assert (first.returncode, said.strip(), failed) == (0, "", "")
    assert len((out / "results.jsonl").read_text().splitlines()) == 2
    assert (out / "report.html").exists()
