"""The bench as a process, over the bundled model: real contestants, few rounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.bench.players.base import Setup
from benchmarks.bench.process import ContestantError, WorkerProcess
from benchmarks.bench.result import Result

WORKLOADS = ["1x5@20-60", "3x2@20-40", "rag-10"]
BUNDLED = Path(__file__).parents[2] / "shared_core" / "tiny"


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.bench"]
    flags = ["--vllm-python", "/nowhere/python", "--threads", "1"]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [*command, *flags, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=900,
        cwd=folder,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run with a wrong contestant and a broken one, and what it printed."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "page.md").write_text("# Results\n\n<!-- bench small -->\n<!-- end -->\n")
    arguments = [part for name in WORKLOADS[:2] for part in ("--workload", name)]
    arguments += ["--rounds", "2", "--batch", "1", "--batch", "3"]
    arguments += ["--ours", "wrong=instruction=Find a recipe for soup"]
    arguments += ["--ours", "broken=max_batch_tokens=0", "--ours", "int8=quantize=int8"]
    arguments += ["--output", "small.json", "--plots", "plots", "--markdown", "page.md"]
    done = bench(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def result(ran: tuple[Path, str]) -> Result:
    return Result.read(ran[0] / "small.json")


def test_everybody_who_can_takes_every_turn(result: Result) -> None:
    turns = {(one.workload, one.contestant, one.round) for one in result.samples}
    playing = [one.name for one in result.contestants if one.status == "ran"]
    everybody = ["model card's recipe", "sentence-transformers", "ours", "ours: wrong"]
    assert playing == [*everybody, "ours: int8"]
    assert turns == {(w, c, r) for w in WORKLOADS[:2] for c in playing for r in range(2)}
    tried = {
        one.variant.get("batch") for one in result.samples if not one.contestant.startswith("ours")
    }
    assert tried == {1, 3}


def test_scores_agree_and_a_wrong_contestant_is_marked(
    result: Result, ran: tuple[Path, str]
) -> None:
    agrees = {(one.workload, one.contestant): one.agrees for one in result.agreements}
    assert agrees == {
        (workload, who): who != "ours: wrong"
        for workload in WORKLOADS[:2]
        for who in (
            *("model card's recipe", "sentence-transformers"),
            *("ours", "ours: wrong", "ours: int8"),
        )
    }
    assert "differs**" in ran[1]
    exact = [one for one in result.agreements if one.contestant != "ours: int8"]
    assert max(one.largest for one in exact if one.agrees) < 1e-5
    assert {one.order for one in exact} == {None}


def test_eight_bits_are_held_to_the_order(result: Result, ran: tuple[Path, str]) -> None:
    """Their scores are further off than float32 may be, and that is not what is claimed."""
    found = [one for one in result.agreements if one.contestant == "ours: int8"]
    assert all(one.largest > 1e-4 and one.order is not None for one in found)
    for shown in (ran[1], (ran[0] / "page.md").read_text("utf-8")):
        assert shown.count("τ ") == len(found) == 2


def test_who_is_missing_or_broken_is_named_and_the_others_go_on(result: Result) -> None:
    facts = {one.name: one for one in result.contestants}
    assert facts["vLLM"].status == "absent"
    assert facts["ours: broken"].status == "failed"
    assert "max_batch_tokens" in facts["ours: broken"].reason


def test_the_result_says_what_it_was_made_with(result: Result) -> None:
    facts = {one.name: one for one in result.contestants}
    assert result.machine["cores"] >= 1
    assert result.versions["torch"] == facts["ours"].versions["torch"]
    assert "sentence-transformers" in facts["sentence-transformers"].versions
    assert result.command.startswith("python -m benchmarks.bench --vllm-python python")
    assert result.peak_flops > 1e8
    weights = (BUNDLED / "model.safetensors").stat().st_size
    assert result.model.weight_bytes == pytest.approx(2 * weights, rel=0.01)  # float16 on disk
    for one in result.samples:
        assert one.peak_bytes > (facts[one.contestant].base_bytes or 0)


def test_pictures_and_tables_are_made(ran: tuple[Path, str]) -> None:
    folder, printed = ran
    for name in ("throughput", "memory"):
        assert (folder / "plots" / f"small-{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "page.md").read_text("utf-8")
    assert page.count("| ours |") == 2
    assert "sentence-transformers, batch " in page
    assert "differs**" in page
    assert "one query, 5 documents" in printed


def test_a_result_is_shown_again_without_measuring(ran: tuple[Path, str]) -> None:
    folder, printed = ran
    done = bench(folder, "--read", "small.json")
    assert done.stdout == printed
    assert done.stderr == ""


def test_a_misspelt_workload_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    done = bench(tmp_path, "--workload", "ragged")
    assert done.returncode == 2
    assert "rag-10" in done.stderr
    assert "loading" not in done.stderr


def test_what_surrounds_the_model_is_measured(tmp_path: Path) -> None:
    done = bench(
        tmp_path,
        *("--only", "ours", "--without", "ours: vllm", "--workload", "1x3@20-30", "--rounds", "1"),
        *("--overhead", "--output", "overhead.json"),
    )
    assert done.returncode == 0, done.stderr
    overhead = json.loads((tmp_path / "overhead.json").read_text())["overhead"]
    assert set(overhead["adapters"]) == {"langchain", "llama-index"}
    assert set(overhead["imports"]) == {
        *("import langchain_qwen3_rerank", "from langchain_qwen3_rerank import Qwen3Rerank"),
        *("import llama_index_qwen3_rerank", "from llama_index_qwen3_rerank import Qwen3Rerank"),
    }
    assert "`from langchain_core.documents import BaseDocumentCompressor`, " in done.stdout
    assert set(overhead["loading"]) == {"ours"}
    assert overhead["tokenising"]["1x3@20-30"] > 0
    assert "Tokenising" in done.stdout


def test_a_worker_that_dies_says_its_last_words_and_leaves_no_process() -> None:
    before = psutil.Process().children()
    worker = WorkerProcess(
        sys.executable, "recipe", Setup("/nowhere", "float32", "cpu", 64), {}, 60
    )
    (started,) = (one for one in psutil.Process().children() if one not in before)
    worker.ask(do="import")
    with pytest.raises(ContestantError, match="nowhere"):
        worker.ask(do="load", variant={"batch": 1})
    worker.end()
    assert not started.is_running()
    dead = WorkerProcess(sys.executable, "nobody", Setup("x", "float32", "cpu", 64), {}, 60)
    with pytest.raises(ContestantError, match="no contestant of the kind 'nobody'"):
        dead.ask(do="import")
    dead.end()
