"""The command as a process, and a server instead of a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.batch_cases import (
    as_lists,
    made_rows,
    one_by_one,
    read_parts,
    write_jsonl,
    write_parquet,
)
from support.prepared_command import run_command

from qwen3_rerank.batch import BatchPlan, plan_batch, run_batch
from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Reranker, ServerUnreachableError

ROWS = made_rows(80, seed=21, per_query=8)
SECRET = "sk-do-not-print-me"
LONG = "word " * 400


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(
        "batch", *arguments, environment={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    )


TINY = ("--model", "tiny", "--device", "cpu", "--dtype", "float32")


def test_it_prints_a_plan_then_works_then_sums_up(tmp_path: Path, tiny: Reranker) -> None:
    given = write_parquet(tmp_path / "in.parquet", ROWS)
    out = tmp_path / "out"
    done = run(str(given), str(out), *TINY, "--block-rows", "30")
    assert done.returncode == 0, done.stderr
    said = done.stderr
    assert said.index("Plan") < said.index("Summary")
    assert "80, of which 80 are left" in said
    assert "by one worker, measured on" in said
    assert "a pair in a sample of 80" in said
    found = read_parts(out / "scores")
    scores = [row["score"] for row in found]
    assert scores == pytest.approx(one_by_one(tiny, ROWS), abs=1e-5)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["rows"], summary["pairs"], summary["errors"]) == (80, 80, 0)
    assert summary["tokens"] == sum(row["n_tokens"] for row in found)
    assert summary["pairs_per_second"] > 0


def test_a_plan_alone_writes_nothing(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    done = run(str(given), str(tmp_path / "out"), *TINY, "--plan-only", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["rows"], plan["pairs_left"], plan["workers"]) == (80, 80, 1)
    assert plan["tokens_left"] > 80 * 60
    assert plan["seconds_left"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_ranked_lists_of_named_columns_as_json_lines(tmp_path: Path, tiny: Reranker) -> None:
    lists = as_lists(ROWS)
    rows = [{"id": row["query_id"], "q": row["query"], "texts": row["documents"]} for row in lists]
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    columns = ("--query-id-column", "id", "--query-column", "q", "--documents-column", "texts")
    wanted = ("--output", "ranked", "--top-k", "2", "--format", "jsonl", "--json")
    done = run(str(given), str(tmp_path / "out"), *TINY, *columns, *wanted)
    assert done.returncode == 0, done.stderr
    plan, summary = map(json.loads, done.stdout.splitlines())
    assert (plan["rows"], summary["pairs"]) == (len(lists), 80)
    assert plan["pairs_left"] == 80
    for got, row in zip(read_parts(tmp_path / "out" / "rankings"), lists, strict=True):
        ranked = tiny.rerank(row["query"], row["documents"], top_k=2)
        assert (got["query_id"], got["indexes"]) == (
            row["query_id"],
            [one.index for one in ranked],
        )


def test_rows_in_the_error_file_make_the_exit_code_1(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", [*ROWS[:5], {"query": "q"}])
    done = run(str(given), str(tmp_path / "out"), *TINY, "--no-measure")
    assert done.returncode == 1
    assert "1 (in errors/)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.parquet", "out"], "there is no such file or folder"),
        (["in.jsonl"], "give the input and, last, the output folder"),
        (["in.jsonl", "out", "--format", "xml"], "expected one of parquet, jsonl"),
        (["in.jsonl", "out", "--top-k", "3"], "give output='ranked'"),
        (["in.jsonl", "out", "--engine-args", "[1]"], "expected a JSON object"),
        (["in.jsonl", "out", "--ray", "127.0.0.1:1"], "no Ray cluster at '127.0.0.1:1'"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "in.jsonl", ROWS[:5])
    done = run(*arguments, *TINY)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.split())


class Service:
    """Our own service, in a thread."""

    def __init__(self, reranker: Reranker) -> None:
        settings = ServiceSettings(port=0, log_level="error", serve_keys=[SECRET])
        self._server = make_server(settings, reranker=reranker)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 60
        while self._server.service.state == "loading" or not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)


@pytest.fixture
def service(checkpoint: Path) -> Iterator[Service]:
    with Reranker(str(checkpoint), dtype="float32", device="cpu", max_length=400) as served:
        running = Service(served)
        yield running
        running.stop()


def test_a_server_scores_and_what_it_refuses_is_a_poisoned_row(
    service: Service, reranker: Reranker, tmp_path: Path
) -> None:
    """A query that the server finds too long is its row's fault, which a second question shows."""
    rows = [dict(row) for row in ROWS]
    rows[33]["query"] = LONG
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    done = run(
        *(str(given), str(out), "--base-url", service.url, "--api-key", SECRET),
        *("--block-rows", "20", "--header", f"X-Other: {SECRET}"),
    )
    assert done.returncode == 1, done.stderr
    (named,) = read_parts(out / "errors")
    assert (named["row"], named["error"]) == (33, "ServerStatusError")
    rest = rows[:33] + rows[34:]
    scores = [row["score"] for row in read_parts(out / "scores")]
    assert scores == pytest.approx(one_by_one(reranker, rest), abs=1e-5)
    assert SECRET not in done.stdout + done.stderr
    for path in out.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_server_that_goes_away_stops_the_job_and_blames_no_row(
    service: Service, tmp_path: Path
) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    asked: dict[str, Any] = {"block_rows": 20, "measure": False}
    options: dict[str, Any] = {"api_key": SECRET, "max_retries": 0}

    def stop(_: object) -> None:
        service.stop()

    with (
        Reranker(base_url=service.url, **options) as remote,
        pytest.raises(ServerUnreachableError),
    ):
        run_batch(given, out, reranker=remote, **asked, on_progress=stop)
    done = len(list((out / "scores").iterdir()))
    assert done >= 1
    assert not list((out / "errors").iterdir())


def test_a_wrong_key_blames_no_row(service: Service, tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    done = run(
        *(str(given), str(tmp_path / "out"), "--base-url", service.url),
        *("--api-key", "wrong", "--no-measure"),
    )
    assert done.returncode == 2
    assert not list((tmp_path / "out" / "errors").iterdir())


def test_the_plan_of_what_is_left_after_a_stop(tmp_path: Path, reranker: Reranker) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    plans: list[BatchPlan] = []
    asked: dict[str, Any] = {"reranker": reranker, "block_rows": 10}
    run_batch(given, out, **asked, measure=False, on_plan=plans.append)
    (out / "scores" / "part-000001.parquet").unlink()
    plan = plan_batch(given, out, **asked)
    assert plans[0].blocks_done == 0
    assert plan.blocks_done == plan.blocks - 1 == plans[0].blocks - 1
    assert 10 <= plan.pairs_left == plan.rows_left < 80
    assert plan.pairs_per_second is not None
    assert plan.seconds_left is not None


@pytest.mark.parametrize(
    ("missing", "flags", "extra"), [("pyarrow", "", "batch"), ("ray", "'--ray', 'local'", "ray")]
)
def test_a_missing_extra_is_named(missing: str, flags: str, extra: str, tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS[:5])
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"sys.argv = ['x', 'batch', {str(given)!r}, {str(tmp_path / 'out')!r}, {flags}]\n"
        "from qwen3_rerank.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert f'pip install "qwen3-rerank[{extra}]"' in " ".join(done.stderr.split())


def test_importing_it_loads_neither_torch_nor_ray() -> None:
    program = "import sys, qwen3_rerank.batch, qwen3_rerank.cli.batch; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert not {"torch", "ray", "transformers"} & set(done.stdout.split())
