"""Many threads and many tasks on one reranker: every answer right, the event loop free."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared_core import ManyScorer, Reranker, Scored, ScoreRequest
from shared_core.options import RerankerOptions
from shared_core.scorers.local import scorer as scorer_module
from shared_core.scorers.local.scorer import TransformersScorer

QUERIES = [f"question {number} about {'tea' if number % 2 else 'bread'}" for number in range(20)]
LISTS = [[f"document {n} {m} " * (1 + (n * m) % 9) for m in range(6)] for n in range(20)]


@pytest.fixture(scope="module")
def expected(reranker: Reranker) -> list[list[float]]:
    return [reranker.score(q, ds) for q, ds in zip(QUERIES, LISTS, strict=True)]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which a model was loaded."""
    threads: list[str] = []
    load_model = scorer_module.load_model

    def counting(options: RerankerOptions) -> Any:
        threads.append(threading.current_thread().name)
        return load_model(options)

    monkeypatch.setattr(scorer_module, "load_model", counting)
    return threads


def test_32_threads_share_one_model(
    checkpoint: Path, expected: list[list[float]], loads: list[str]
) -> None:
    reranker = Reranker(str(checkpoint), dtype="float32", device="cpu")
    barrier = threading.Barrier(32)

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(5):
            index = (number + turn) % len(QUERIES)
            assert reranker.score(QUERIES[index], LISTS[index]) == pytest.approx(
                expected[index], abs=1e-6
            )

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))
    assert len(loads) == 1


async def test_200_tasks_are_right_and_leave_the_default_executor_alone(
    checkpoint: Path, expected: list[list[float]], loads: list[str]
) -> None:
    async with Reranker(str(checkpoint), dtype="float32", device="cpu") as reranker:
        rankings = await asyncio.gather(
            *(reranker.arerank(QUERIES[n % 20], LISTS[n % 20]) for n in range(200))
        )
    for number, ranking in enumerate(rankings):
        scores = {one.index: one.score for one in ranking}
        assert [scores[index] for index in range(6)] == pytest.approx(
            expected[number % 20], abs=1e-6
        )
    assert len(loads) == 1
    assert loads[0].startswith("qwen3-rerank")
    assert not any(thread.name.startswith("asyncio_") for thread in threading.enumerate())


class WatchedScorer:
    """The real scorer; notes how often the event loop turned during each forward."""

    def __init__(self, checkpoint: Path) -> None:
        self.inner = TransformersScorer(RerankerOptions(model=str(checkpoint), dtype="float32"))
        self.turns = 0
        self.turns_per_call: list[int] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        return self.inner.score(query, documents, instruction=instruction)

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        before = self.turns
        scored = self.inner.score_many(requests, show_progress=show_progress)
        self.turns_per_call.append(self.turns - before)
        return scored

    def unload(self) -> None:
        self.inner.unload()


async def test_the_event_loop_turns_during_every_forward(checkpoint: Path) -> None:
    """Loading included. Were scoring done in the loop, it would turn zero times."""
    scorer = WatchedScorer(checkpoint)
    assert isinstance(scorer, ManyScorer)
    stop = asyncio.Event()

    async def tick() -> None:
        while not stop.is_set():
            scorer.turns += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    async with Reranker(scorer=scorer) as reranker:
        documents = ["word " * 400] + [f"other {n} " * 100 for n in range(20)]
        await asyncio.gather(*(reranker.arerank(query, documents) for query in QUERIES[:10]))
    stop.set()
    await ticker
    assert len(scorer.turns_per_call) == 10
    assert min(scorer.turns_per_call) > 0


FIRST_USE = """
import asyncio, sys
from shared_core import Reranker

def is_imported():
    return hasattr(sys.modules.get("shared_core.scorers.local.scorer"), "TransformersScorer")

async def main():
    reranker = Reranker(sys.argv[1])
    tasks = [asyncio.create_task(reranker.ascore("query", ["document"])) for _ in range(2)]
    for _ in range(5):
        await asyncio.sleep(0)
    print("still importing:", not is_imported())
    turns = 0
    while not all(task.done() for task in tasks):
        turns += 1
        await asyncio.sleep(0)
    print("turned:", turns > 100, is_imported(), len([await task for task in tasks]))

asyncio.run(main())
"""


def test_the_event_loop_turns_while_the_first_use_imports_torch(checkpoint: Path) -> None:
    """A second call must not wait, in the loop, for what the first call's worker imports."""
    finished = subprocess.run(
        [sys.executable, "-c", FIRST_USE, str(checkpoint)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert finished.stdout.splitlines() == ["still importing: True", "turned: True True 2"]


def test_several_event_loops_share_one_reranker(
    checkpoint: Path, expected: list[list[float]]
) -> None:
    """One loop after another, and four at once, each in its own thread."""
    reranker = Reranker(str(checkpoint), dtype="float32", device="cpu")

    async def some() -> list[list[float]]:
        return await asyncio.gather(
            *(reranker.ascore(q, ds) for q, ds in zip(QUERIES, LISTS, strict=True))
        )

    runs = [asyncio.run(some()), asyncio.run(some())]
    with ThreadPoolExecutor(4) as pool:
        runs += pool.map(lambda _: asyncio.run(some()), range(4))
    for scores in runs:
        for one, other in zip(scores, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-6)


async def test_a_cancelled_call_that_waits_is_never_scored() -> None:
    release = threading.Event()
    started = threading.Event()
    seen: list[str] = []

    class Slow:
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            seen.append(query)
            started.set()
            release.wait(30)
            return [0.0] * len(documents)

    async with Reranker(scorer=Slow()) as reranker:
        first = asyncio.create_task(reranker.ascore("first", ["d"]))
        while not started.is_set():
            await asyncio.sleep(0)
        second = asyncio.create_task(reranker.ascore("second", ["d"]))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        release.set()
        assert await first == [0.5]
        assert await reranker.ascore("third", ["d"]) == [0.5]
    assert seen == ["first", "third"]


def test_unloading_while_others_score_breaks_nothing(
    checkpoint: Path, expected: list[list[float]]
) -> None:
    reranker = Reranker(str(checkpoint), dtype="float32", device="cpu")

    def work(number: int) -> None:
        for index in range(number, number + 5):
            if number == 0:
                reranker.unload()
            scores = reranker.score(QUERIES[index], LISTS[index])
            assert scores == pytest.approx(expected[index], abs=1e-6)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
