"""The life of the engine: shared by loops and threads, given up by who cancels, ended, replaced."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from with_vllm.engines import vllm_reranker

from shared_core import (
    ConfigurationError,
    ModelLoadError,
    Reranker,
    ScoringError,
    UnsupportedModelError,
)

QUERY = "tea or coffee"
DOCUMENTS = ["tea", "coffee", "neither of them", "both " * 50]


def host_of(reranker: Reranker) -> Any:
    return reranker.scorer._host  # type: ignore[attr-defined]


def test_threads_and_two_event_loops_share_one_engine(engine: Reranker) -> None:
    expected = engine.score(QUERY, DOCUMENTS)
    queries = [f"question {number}" for number in range(6)]
    each = [engine.score(query, DOCUMENTS) for query in queries]

    async def ask_all() -> list[list[float]]:
        return await asyncio.gather(*(engine.ascore(query, DOCUMENTS) for query in queries))

    with ThreadPoolExecutor(4) as pool:
        loops = [pool.submit(asyncio.run, ask_all()) for _ in range(2)]
        threads = [pool.submit(engine.score, QUERY, DOCUMENTS) for _ in range(2)]
    for loop in loops:
        for got, wanted in zip(loop.result(), each, strict=True):
            assert got == pytest.approx(wanted, abs=1e-5)
    for thread in threads:
        assert thread.result() == pytest.approx(expected, abs=1e-5)


async def test_a_cancelled_call_is_aborted_and_others_go_on(engine: Reranker) -> None:
    many = [f"document {number} " * 80 for number in range(4000)]
    vllm = host_of(engine)._loaded.engine
    long_call = asyncio.create_task(engine.arerank(QUERY, many))
    while not vllm.get_num_unfinished_requests():
        await asyncio.sleep(0.01)
    short_call = asyncio.create_task(engine.arerank(QUERY, DOCUMENTS))
    await asyncio.sleep(0.1)
    long_call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long_call
    assert len(await short_call) == len(DOCUMENTS)
    deadline = time.monotonic() + 5
    while vllm.get_num_unfinished_requests() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert vllm.get_num_unfinished_requests() == 0


def test_show_progress_counts_documents(engine: Reranker, capsys: pytest.CaptureFixture) -> None:
    scorer = engine.scorer
    from shared_core.scoring import ScoreRequest

    scorer.score_many([ScoreRequest(QUERY, "Find it", DOCUMENTS)], show_progress=True)  # type: ignore[attr-defined]
    assert "4/4" in capsys.readouterr().err


def test_unload_waits_for_work_and_the_next_call_starts_an_engine(engine: Reranker) -> None:
    before = engine.score(QUERY, DOCUMENTS)
    many = [f"document {number} " * 20 for number in range(500)]
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(engine.score, QUERY, many)
        while not host_of(engine)._loaded.engine.get_num_unfinished_requests():
            time.sleep(0.01)
        engine.unload()
        assert not engine.is_loaded
        assert len(working.result()) == len(many)  # an engine ended under it would be an error
    assert engine.score(QUERY, DOCUMENTS) == pytest.approx(before, abs=1e-5)
    assert engine.is_loaded


def test_an_engine_that_died_is_an_error_once_and_then_replaced(engine: Reranker) -> None:
    before = engine.score(QUERY, DOCUMENTS)
    (process,) = host_of(engine)._loaded.engine.engine_core.resources.engine_manager.processes
    many = [f"document {number} " * 80 for number in range(4000)]
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(engine.score, QUERY, many)
        while not host_of(engine)._loaded.engine.get_num_unfinished_requests():
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ScoringError, match="engine ended"):
            working.result()
    assert not engine.is_loaded
    assert engine.score(QUERY, DOCUMENTS) == pytest.approx(before, abs=1e-5)


def edited(checkpoint: Path, folder: Path, **changes: Any) -> Path:
    """Return a copy of the checkpoint with other words in its config.json."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_checkpoint_without_its_head_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    relabelled = edited(
        checkpoint,
        tmp_path / "relabelled",
        architectures=["Qwen3ForSequenceClassification"],
        id2label={"0": "LABEL_0"},
        label2id={"LABEL_0": 0},
    )
    with pytest.raises(UnsupportedModelError, match=r"score\.weight"):
        vllm_reranker(relabelled).score(QUERY, DOCUMENTS)
    headless = edited(checkpoint, tmp_path / "headless", tie_word_embeddings=False)
    with pytest.raises(UnsupportedModelError, match=r"lm_head\.weight"):
        vllm_reranker(headless).score(QUERY, DOCUMENTS)


def test_another_kind_of_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    other = edited(checkpoint, tmp_path / "other", model_type="qwen2")
    with pytest.raises(UnsupportedModelError, match="'qwen2' model"):
        vllm_reranker(other).score(QUERY, DOCUMENTS)


def test_a_model_that_is_not_there_is_a_load_error(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="nobody/nothing"):
        vllm_reranker("nobody/nothing", local_files_only=True).score(QUERY, DOCUMENTS)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_vllm_cannot_use_is_refused(checkpoint: Path, device: str) -> None:
    with pytest.raises(ConfigurationError, match="computes on 'cpu' alone"):
        vllm_reranker(checkpoint, device=device).score(QUERY, DOCUMENTS)


def test_engine_args_that_vllm_does_not_take_are_refused(checkpoint: Path) -> None:
    unknown = vllm_reranker(checkpoint, engine_args={"tensor_parallel": 2})
    with pytest.raises(ConfigurationError, match="no 'tensor_parallel'"):
        unknown.score(QUERY, DOCUMENTS)
    too_long = vllm_reranker(checkpoint, engine_args={"max_model_len": 10**6})
    with pytest.raises(ModelLoadError, match="max_model_len"):
        too_long.score(QUERY, DOCUMENTS)
