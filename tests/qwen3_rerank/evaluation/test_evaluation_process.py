"""`qwen3-rerank evaluate` as a process: killed and started again, servers, secrets, mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.prepared_command import run_command
from support.remote_oracle import Oracle
from support.rerank_server import RerankServer
from support.served_vllm import VllmPooling

COMMAND = [sys.executable, "-c", "from qwen3_rerank.cli import main; main()", "evaluate"]
HERE = ["--device", "cpu", "--dtype", "float32"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")},
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONIOENCODING": "utf-8",
}
SECRET = "sk-do-not-print-me"


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command("evaluate", *arguments, environment=ENVIRONMENT | environment)


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_killed_in_the_middle_it_goes_on_and_ends_alike(demo_folder: Path, tmp_path: Path) -> None:
    """kill -9 while queries are scored, and a line that was torn by it."""
    n = 24
    model = ["--model", "tiny", *HERE]
    arguments = [demo_folder, *model, "--top-n", "12", "--queries", str(n), "--json"]
    results = tmp_path / "killed" / "results.jsonl"
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--out", str(tmp_path / "killed")],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (results.exists() and results.read_bytes().count(b"\n") >= 3):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = results.read_bytes()
    whole = before[: before.rindex(b"\n") + 1]
    known = whole.count(b"\n")
    assert 3 <= known < n
    assert not (tmp_path / "killed" / "report.html").exists()
    results.write_bytes(whole + b'{"key": "abc", "query": "q')

    again = run(*arguments, "--out", tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    assert results.read_bytes().startswith(whole)
    found = lines_of(results)
    assert len(found) == n == len({line["key"] for line in found})

    unharmed = run(*arguments, "--out", tmp_path / "unharmed")
    assert unharmed.returncode == 0, unharmed.stderr
    for name in ("report.json", "queries.jsonl", "runs/A.run"):
        both = [(tmp_path / folder / name).read_bytes() for folder in ("killed", "unharmed")]
        assert both[0] == both[1]
    printed = json.loads(unharmed.stdout)
    assert printed["timing"]["A"]["queries"] == n
    saved = json.loads((tmp_path / "unharmed" / "report.json").read_text("utf-8"))
    assert {name: printed[name] for name in saved} == saved


def test_a_model_here_and_the_same_on_a_server_rank_alike(
    demo_folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    arguments = [demo_folder, "--top-n", "5", "--queries", "6", "--out", tmp_path, *HERE]
    with RerankServer(VllmPooling(Oracle(checkpoint), key=SECRET)) as server:
        arguments += ["--model", checkpoint, "--model", "reranker"]
        arguments += ["--base-url", "local", "--base-url", server.url]
        arguments += ["--tokenizer", checkpoint, "--header", f"X-Other: {SECRET}-too"]
        done = run(*arguments, QWEN3_RERANK_API_KEY=SECRET)
        assert done.returncode == 0, done.stderr
        assert server.posts
        assert all(seen.headers["x-other"] == f"{SECRET}-too" for seen in server.posts)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    here, there = report["systems"]
    assert (here["name"], there["name"]) == (str(checkpoint), f"reranker at {server.url}")
    assert here["figures"] == there["figures"]
    orders = [
        [line.split()[:4] for line in (tmp_path / "runs" / f"{letter}.run").open()]
        for letter in "AB"
    ]
    assert orders[0] == orders[1]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not any(SECRET.encode() in path.read_bytes() for path in written)
    assert SECRET not in done.stdout + done.stderr


def test_a_key_that_was_typed_is_not_in_the_report(demo_folder: Path, tmp_path: Path) -> None:
    done = run(
        *(demo_folder, "--model", "tiny", *HERE, "--top-n", "2", "--queries", "1"),
        *("--out", tmp_path, "--api-key", SECRET, f"--header=X-Key: {SECRET}"),
    )
    assert done.returncode == 0, done.stderr
    command = json.loads((tmp_path / "report.json").read_text("utf-8"))["command"]
    assert "--api-key … --header=…" in command
    assert "--out OUT" in command
    assert not any(SECRET in path.read_text("utf-8") for path in tmp_path.rglob("*.*"))


def test_its_own_run_can_be_given_back_as_a_first_stage(demo_folder: Path, tmp_path: Path) -> None:
    """And a file of ids says which queries count."""
    ids = tmp_path / "ids.txt"
    ids.write_text("q-en-01\n\nq-zh-01\n")
    options = ["--model", "tiny", *HERE, "--only", ids]
    first = run(demo_folder, *options, "--top-n", "5", "--out", tmp_path / "first")
    assert first.returncode == 0, first.stderr
    run_file = tmp_path / "first" / "runs" / "A.run"
    second = run(demo_folder, *options, "--run", run_file, "--out", tmp_path / "second")
    assert second.returncode == 0, second.stderr
    report = json.loads((tmp_path / "second" / "report.json").read_text("utf-8"))
    assert report["dataset"]["queries"] == 2
    assert report["before"] == report["systems"][0]["figures"]
    assert "A.run" in second.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--split", "dev"], "no split 'dev' (there are: test)"),
        (["--run", "nowhere.run"], "nowhere.run: No such file"),
        (["--measure", "nope"], "'nope' is no measure"),
        (["--queries", "2", "--only", "{ids}"], "has no query nobody to evaluate"),
        (["--keep", "0"], "keep=0.0: expected a share"),
        (["--model", "a", "--model", "a"], "the same model is there twice"),
        (["--base-url", "http://x", "--base-url", "http://y"] + ["--model", "m"] * 3, "3 models"),
        (["--base-url", "ftp://x"], "base_url is no address"),
    ],
)
def test_mistakes_are_named(
    demo_folder: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    (tmp_path / "ids").write_text("nobody\n")
    options = [one.replace("{ids}", str(tmp_path / "ids")) for one in options]
    done = run(demo_folder, "--out", tmp_path / "out", *options)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_a_results_file_of_something_else_is_left_alone(demo_folder: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "results.jsonl"
    foreign.write_text('{"mine": 1}\n{"mine": 2}\n')
    done = run(demo_folder, "--out", tmp_path, "--model", "tiny", "--queries", "1")
    assert done.returncode == 2
    assert "results.jsonl, line 1: no result of an evaluation" in done.stderr
    assert foreign.read_text() == '{"mine": 1}\n{"mine": 2}\n'


def test_a_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['bm25s'] = None\nimport qwen3_rerank.evaluation"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert 'pip install "qwen3-rerank[evaluate]"' in done.stderr.splitlines()[-1]
