"""Attempts to get the scores of two models, two dtypes, a server or two jobs into one output."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="no pyarrow here: pip install -e '.[batch]'")

from support.batch_cases import made_rows, write_jsonl
from support.batch_processes import STOP, begun, ended, run_command, tree, words
from support.batch_scorers import Quick
from support.checkpoints import write_checkpoint

from qwen3_rerank.batch import ChangedJobError, run_batch
from qwen3_rerank.evaluation import Dataset, Progress, evaluate
from shared_core import Reranker

ROWS = made_rows(60, seed=8, per_query=4)
PART = "scores/part-000001.parquet"
CPU = ("--device", "cpu", "--block-rows", "10", "--no-measure")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> tuple[Path, Path]:
    """Two checkpoints whose files differ in the weights alone, and not in their size."""
    one, other = (tmp_path_factory.mktemp(name) for name in ("one", "other"))
    write_checkpoint(one, small_tokenizer, seed=3)
    write_checkpoint(other, small_tokenizer, seed=4)
    name = "model.safetensors"
    assert (one / name).stat().st_size == (other / name).stat().st_size
    return one, other


def begin(reranker: Reranker, given: Path, out: Path) -> dict[str, Any]:
    """Do a job but for one block, and return what is in its folder."""
    run_batch(given, out, reranker=reranker, block_rows=10, measure=False)
    (out / PART).unlink()
    return tree(out)


def assert_refused(reranker: Reranker, given: Path, out: Path, said: str) -> None:
    before = tree(out)
    with pytest.raises(ChangedJobError, match=said):
        run_batch(given, out, reranker=reranker, block_rows=10, measure=False)
    assert tree(out) == before


def test_weights_that_were_replaced_are_noticed_by_the_command(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    """The same folder, names, sizes and times, as a copy that keeps times leaves them."""
    given, out, model = write_jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "out", tmp_path / "m"
    shutil.copytree(weights[0], model)
    command = ("batch", given, out, "--model", model, *CPU)
    assert run_command(*command).returncode == 0
    (out / PART).unlink()
    before = tree(out)
    shutil.copy2(weights[1] / "model.safetensors", model)
    done = run_command(*command)
    assert done.returncode == 2
    assert "begun with another model: files was 'sha256:" in words(done.stderr)
    assert tree(out) == before
    shutil.copy2(weights[0] / "model.safetensors", model)
    shutil.copytree(model, tmp_path / "moved")
    done = run_command("batch", given, out, "--model", tmp_path / "moved", *CPU)
    assert done.returncode == 0, done.stderr


def test_where_all_is_done_other_weights_are_refused_as_well(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    given, out = write_jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "out"
    with Reranker(str(weights[0]), device="cpu", dtype="float32") as one:
        run_batch(given, out, reranker=one, block_rows=10, measure=False)
    with Reranker(str(weights[1]), device="cpu", dtype="float32") as other:
        assert_refused(other, given, out, "files was")
        assert not other.is_loaded


def test_the_dtype_that_auto_stands_for_is_that_of_the_first_run(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    """On another machine "auto" is another dtype: there, torch finds bfloat16 in the processor."""
    given, out = write_jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "out"
    command = ("batch", given, out, "--model", weights[0], *CPU)
    machine = "import torch; torch.cpu._is_avx512_bf16_supported = lambda: {}".format
    done = run_command(*command, code=machine("False"))
    assert done.returncode == 0, done.stderr
    (out / PART).unlink()
    before = tree(out)
    done = run_command(*command, code=machine("True"))
    assert done.returncode == 2
    assert "dtype was 'float32' and is 'bfloat16'" in words(done.stderr)
    assert tree(out) == before
    with Reranker(str(weights[0]), device="cpu", dtype="float32") as said:
        summary = run_batch(given, out, reranker=said, block_rows=10, measure=False)
    assert summary.blocks_skipped == summary.blocks - 1


@pytest.fixture
def server(weights: tuple[Path, Path]) -> Iterator[str]:
    """The first checkpoint behind our own service."""
    import threading
    import time

    from qwen3_rerank.service.server import make_server
    from qwen3_rerank.service.settings import ServiceSettings

    with Reranker(str(weights[0]), dtype="float32", device="cpu") as served:
        running = make_server(ServiceSettings(port=0, log_level="error"), reranker=served)
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 60
        while running.service.state == "loading" or not running.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
        running.should_exit = True
        thread.join(20)


def test_a_job_that_was_begun_here_does_not_go_on_at_a_server_nor_the_reverse(
    weights: tuple[Path, Path], server: str, tmp_path: Path
) -> None:
    """Though it is the very same model, with the same name."""
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    model = str(weights[0])
    with (
        Reranker(model, device="cpu", dtype="float32") as here,
        Reranker(model, base_url=server) as there,
        Reranker(model, base_url=server.replace("127.0.0.1", "localhost")) as elsewhere,
    ):
        begin(here, given, tmp_path / "here")
        assert_refused(there, given, tmp_path / "here", "backend was 'transformers' and is 'remot")
        begin(there, given, tmp_path / "there")
        assert_refused(here, given, tmp_path / "there", "backend was 'remote' and is 'transformers")
        assert_refused(elsewhere, given, tmp_path / "there", "base_url was 'http://127.0.0.1:")
        told = json.loads((tmp_path / "there" / "scoring.json").read_text())["identity"]
        assert {"dialect", "template", "base_url", "max_length"} <= set(told)


@dataclass
class Scaled(Quick):
    """What a server is whose model was exchanged: the name stays, the scores do not."""

    factor: float = 1.0

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        margins = super().score(query, documents, instruction=instruction)
        return [self.factor * one for one in margins]


def test_known_pairs_tell_a_model_that_was_exchanged_under_its_name(tmp_path: Path) -> None:
    given, out = write_jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "out"
    with Reranker(scorer=Scaled()) as first, Reranker(scorer=Scaled(-1.0)) as exchanged:
        begin(first, given, out)
        assert_refused(exchanged, given, out, "does not score as it did when the folder was begun")
    with Reranker(scorer=Scaled(1.0001)) as rounded:
        summary = run_batch(given, out, reranker=rounded, block_rows=10, measure=False)
    assert summary.blocks_skipped == summary.blocks - 1


@pytest.mark.parametrize("how", ["folder and all", "files"])
def test_a_folder_that_was_begun_anew_meanwhile_belongs_to_the_new_job_alone(
    how: str, tmp_path: Path
) -> None:
    """The first job's process still runs, and has a block to write."""
    rows = [dict(row) for row in ROWS]
    rows[25]["document"] += STOP
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    first = begun(given, out, tmp_path / "signals")
    if how == "folder and all":
        shutil.rmtree(out)
    for path in list(out.iterdir()) if out.exists() else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    with Reranker(scorer=Scaled(100.0)) as second:
        run_batch(given, out, reranker=second, block_rows=10, measure=False)
    before = tree(out)
    code, said = ended(first, tmp_path / "signals")
    assert code == 1
    assert said.startswith("ChangedJobError"), said
    assert "was deleted or holds another job by now" in said
    assert tree(out) == before


def test_a_folder_that_was_deleted_is_not_made_again(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    rows[25]["document"] += STOP
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    first = begun(given, tmp_path / "out", tmp_path / "signals")
    shutil.rmtree(tmp_path / "out")
    code, said = ended(first, tmp_path / "signals")
    assert (code, said.partition(":")[0]) == (1, "ChangedJobError")
    assert not (tmp_path / "out").exists()


def test_an_evaluation_keeps_scores_for_the_files_and_the_dtype_that_made_them(
    weights: tuple[Path, Path], tmp_path: Path
) -> None:
    documents = {f"d{n}": row["document"] for n, row in enumerate(ROWS[:6])}
    queries = {"q1": "what is tea?", "q2": "what is water?"}
    data = Dataset("made", documents, queries, {query: {"d0": 1} for query in queries})
    given = {query: list(documents) for query in queries}
    model = tmp_path / "model"
    shutil.copytree(weights[0], model)

    def scored(**options: Any) -> int:
        seen: list[Progress] = []
        with Reranker(str(model), **({"device": "cpu", "dtype": "float32"} | options)) as reranker:
            evaluate(
                reranker,
                data,
                first_stage=given,
                out=tmp_path / "report",
                on_progress=seen.append,
            )
        return seen[-1].total - seen[-1].known

    assert scored() == 2
    assert scored(max_batch_tokens=500) == 0
    assert scored(dtype="bfloat16") == 2
    path = model / "model.safetensors"
    data_of_it = bytearray(path.read_bytes())
    middle = len(data_of_it) // 2
    data_of_it[middle : middle + 4000 : 4] = bytes(1000)
    path.write_bytes(data_of_it)
    assert scored() == 2
