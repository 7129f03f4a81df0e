"""A real Ray of two nodes, on loopback: killed workers, a killed driver, a dataset, a secret."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# Before Ray is imported: no usage statistics, and addresses on loopback alone.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import psutil
import pytest
import ray
import ray.data
from ray.cluster_utils import Cluster
from support.batch_cases import Row, made_rows, read_parts, write_jsonl, write_parquet
from support.batch_scorers import POISON, Deadly, EachItsOwn, Quick, margin
from support.tiny_server import score as server_score
from support.tiny_server import tiny_server

from qwen3_rerank.batch import BatchError, BatchProgress, RayOptions, run_batch
from shared_core import Reranker

ROWS = made_rows(400, seed=11, per_query=8)
BLOCK = 20
PATIENCE = 600  # seconds, on a busy machine
SECRET = "sk-do-not-write-me-anywhere"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and a second node, of one CPU each, whose workers find the modules of the tests."""
    with ExitStack() as stack:
        # A short path, since sockets lie in it; of ours alone, so that all of it can be looked
        # through. Ray writes the cluster's address there, too, and makes no folder for it.
        folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("RAY_TMPDIR", folder)
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        stack.callback(ray.shutdown)
        started = Cluster()
        stack.callback(started.shutdown)
        for _ in range(2):
            started.add_node(num_cpus=1, object_store_memory=100 << 20, include_dashboard=False)
        assert started.address.startswith("127.0.0.1:")
        yield started


@pytest.fixture(autouse=True)
def disconnected() -> Iterator[None]:
    """Every test connects by itself, as a driver does."""
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def expected(tiny: Reranker, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The rows as one process without Ray scores them."""
    folder = tmp_path_factory.mktemp("whole")
    given = write_parquet(folder / "in.parquet", ROWS)
    run_batch(given, folder / "out", reranker=tiny, block_rows=BLOCK, measure=False)
    return read_parts(folder / "out" / "scores")


def workers_of(cluster: Cluster) -> list[psutil.Process]:
    """The processes in which actors are at work, on all nodes."""
    raylets = [
        psutil.Process(one.process.pid)
        for node in cluster.list_all_nodes()
        for one in node.all_processes["raylet"]
    ]
    children = [child for one in raylets for child in one.children(recursive=True)]
    return [child for child in children if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return "ray::Worker" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def assert_same(found: list[Row], expected: list[Row]) -> None:
    """Nothing lost, nothing twice, and the scores of one process."""
    assert [row["row"] for row in found] == list(range(len(expected)))
    for name in ("query_id", "document_id", "n_tokens", "truncated"):
        assert [row[name] for row in found] == [row[name] for row in expected]
    logits = [row["logit"] for row in expected]
    assert [row["logit"] for row in found] == pytest.approx(logits, abs=1e-5)


def test_a_killed_worker_is_replaced_and_its_block_done_again(
    cluster: Cluster, tiny: Reranker, expected: list[Row], tmp_path: Path
) -> None:
    given = write_parquet(tmp_path / "in.parquet", ROWS)
    killed: list[int] = []
    seen: list[int] = []

    def kill_one(progress: BatchProgress) -> None:
        if progress.blocks_done >= 4 and not killed:
            at_work = workers_of(cluster)
            seen.append(len(at_work))
            at_work[0].send_signal(signal.SIGKILL)
            killed.append(at_work[0].pid)

    summary = run_batch(
        given,
        tmp_path / "out",
        reranker=tiny,
        block_rows=BLOCK,
        ray=RayOptions(cluster.address, workers=2),
        on_progress=kill_one,
        measure=False,
    )
    assert seen == [2]
    assert summary.deaths == 1
    assert (summary.pairs, summary.errors) == (len(ROWS), 0)
    assert_same(read_parts(tmp_path / "out" / "scores"), expected)


def test_a_killed_driver_is_started_again_and_does_what_is_missing(
    cluster: Cluster, expected: list[Row], tmp_path: Path
) -> None:
    given = write_parquet(tmp_path / "in.parquet", ROWS)
    out = tmp_path / "out"
    command = [
        *(sys.executable, "-c", "from qwen3_rerank.cli import main; main()"),
        *("batch", str(given), str(out), "--ray", cluster.address, "--workers", "2"),
        *("--model", "tiny", "--device", "cpu", "--dtype", "float32"),
        *("--block-rows", str(BLOCK), "--no-measure"),
    ]
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not out.is_dir() or len(list(out.glob("scores/*"))) < 4:
            assert driver.poll() is None, "it ended too early"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        driver.kill()
        driver.wait()
    wait_until_free(cluster)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("scores/*")}
    assert 4 <= len(before) < len(ROWS) // BLOCK
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("scores/*")}
    assert {name: after[name] for name in before} == before
    assert_same(read_parts(out / "scores"), expected)


def wait_until_free(cluster: Cluster) -> None:
    """Wait until the actors of a dead driver are gone; what they still write is whole blocks."""
    deadline = time.monotonic() + PATIENCE
    while workers_of(cluster):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_block_that_kills_its_workers_is_set_aside_and_all_others_are_done(
    cluster: Cluster, tmp_path: Path
) -> None:
    rows = [dict(row) for row in ROWS[:100]]
    rows[30]["document"] += POISON
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    asked: dict[str, Any] = {
        "block_rows": 10,
        "measure": False,
        "ray": RayOptions(cluster.address, workers=2, max_deaths=2),
    }
    with (
        Reranker(scorer=Deadly()) as reranker,
        pytest.raises(BatchError, match=r"1 of \d+ blocks are not done, since each killed 2"),
    ):
        run_batch(given, out, reranker=reranker, **asked)
    count = sum(1 for _ in (out / "blocks.jsonl").open())
    assert len(list((out / "scores").iterdir())) == count - 1
    with Reranker(scorer=Deadly(once=given)) as reranker:  # is there, so that it kills no more
        summary = run_batch(given, out, reranker=reranker, **asked)
    assert (summary.blocks_skipped, summary.pairs, summary.deaths) == (count - 1, 100, 0)


def test_a_model_that_no_worker_can_load_stops_the_job(cluster: Cluster, tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS[:20])
    with (
        Reranker(str(tmp_path / "no model")) as reranker,
        pytest.raises(BatchError, match="ModelLoadError in a worker: the folder "),
    ):
        run_batch(given, tmp_path / "out", reranker=reranker, ray=RayOptions(cluster.address))
    assert not list((tmp_path / "out" / "errors").iterdir())


def test_workers_that_fit_nowhere_are_refused_at_once(cluster: Cluster, tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS[:20])
    with (
        Reranker(scorer=Quick()) as reranker,
        pytest.raises(BatchError, match="a worker needs 1 CPU, 8 GPU, and the whole cluster has"),
    ):
        run_batch(
            given, tmp_path / "out", reranker=reranker, ray=RayOptions(cluster.address, gpus=8)
        )


def test_workers_notice_an_input_that_is_rewritten(cluster: Cluster, tmp_path: Path) -> None:
    """Lines in another order, with the size and the time of the file kept."""
    rows = [row | {"other": "x" * 20_000} for row in ROWS[:200]]
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"

    def rewrite(progress: BatchProgress) -> None:
        if progress.blocks_done == 1:
            status = given.stat()
            lines = given.read_bytes().splitlines(keepends=True)
            with given.open("r+b") as stream:
                stream.writelines(lines[::-1])
            os.utime(given, ns=(status.st_atime_ns, status.st_mtime_ns))

    with (
        Reranker(scorer=Quick()) as reranker,
        pytest.raises(BatchError, match=r"BatchInputError in a worker: .*in\.jsonl is not what"),
    ):
        run_batch(
            given,
            out,
            reranker=reranker,
            block_rows=5,
            measure=False,
            on_progress=rewrite,
            ray=RayOptions(cluster.address, workers=2),
        )
    for row in read_parts(out / "scores"):
        given_row = rows[row["row"]]
        assert row["document_id"] == given_row["document_id"]
        assert row["logit"] == margin(given_row["query"], given_row["document"])


def test_a_worker_that_scores_otherwise_than_the_first_does_no_block(
    cluster: Cluster, tmp_path: Path
) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS[:100])
    with (
        Reranker(scorer=EachItsOwn()) as reranker,
        pytest.raises(BatchError, match="ChangedJobError in a worker: the model does not score as"),
    ):
        run_batch(
            given,
            tmp_path / "out",
            reranker=reranker,
            block_rows=5,
            measure=False,
            ray=RayOptions(cluster.address, workers=2),
        )
    found = read_parts(tmp_path / "out" / "scores")
    apart = {
        round(row["logit"] - margin(ROWS[row["row"]]["query"], ROWS[row["row"]]["document"]))
        for row in found
    }
    assert len(apart) <= 1


def test_a_dataset_is_copied_once_and_the_copy_is_what_a_restart_reads(
    cluster: Cluster, tmp_path: Path
) -> None:
    ray.init(address=cluster.address, log_to_driver=False)
    dataset = ray.data.from_items(ROWS[:200], override_num_blocks=7)
    out = tmp_path / "out"

    class StopError(Exception):
        pass

    def stop(progress: BatchProgress) -> None:
        if progress.blocks_done == 2:
            raise StopError

    with Reranker(scorer=Quick()) as reranker:
        asked: dict[str, Any] = {"reranker": reranker, "block_rows": 20, "measure": False}
        with pytest.raises(StopError):
            run_batch(dataset, out, **asked, on_progress=stop)
        assert (out / ".dataset").is_dir()
        summary = run_batch(dataset, out, **asked, ray=RayOptions(workers=1))
        assert (summary.blocks_skipped, summary.pairs) == (2, 200)
        found = {row["document_id"]: row["logit"] for row in read_parts(out / "scores")}
        given = write_jsonl(tmp_path / "in.jsonl", ROWS[:200])
        run_batch(given, tmp_path / "whole", **asked)
        whole = read_parts(tmp_path / "whole" / "scores")
    assert found == {row["document_id"]: row["logit"] for row in whole}
    assert len(found) == 200
    assert not (out / ".dataset").exists()


def test_a_key_from_the_environment_reaches_the_workers_and_no_file(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster was begun without it; its logs are looked through as well."""
    monkeypatch.setenv("QWEN3_RERANK_API_KEY", SECRET)
    given = write_jsonl(tmp_path / "in.jsonl", ROWS[:60])
    out = tmp_path / "out"
    with tiny_server() as server, Reranker(base_url=server.url, model="m") as reranker:
        summary = run_batch(
            given,
            out,
            reranker=reranker,
            block_rows=20,
            ray=RayOptions(cluster.address, workers=2),
        )
        assert server.headers
        assert all(header["authorization"] == f"Bearer {SECRET}" for header in server.headers)
    assert summary.pairs == 60
    found = [row["score"] for row in read_parts(out / "scores")]
    assert found == pytest.approx([server_score(row["document"]) for row in ROWS[:60]], abs=1e-6)
    logs = Path(cluster.head_node.get_session_dir_path())
    for path in [*out.rglob("*"), *logs.rglob("*")]:
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
