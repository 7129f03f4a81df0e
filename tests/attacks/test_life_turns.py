"""Calls in turn: a cancelled one ends with its pack, a short one never waits for a long one's end.

Counted in forwards of a real model, not in seconds.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.waiting import auntil, until

from qwen3_rerank.service.batching import Scheduler
from qwen3_rerank.service.metrics import Metrics
from shared_core import Reranker, ScoreRequest
from shared_core.scorers.local import scorer as transformers

LONG = [f"long document number {n} " * 3 for n in range(60)]
SHORT = ["a short one"]


class Forwards:
    """Notes the size of every forward, and can hold the forwards back."""

    def __init__(self, reranker: Reranker) -> None:
        self.reranker = reranker
        self.sizes: list[int] = []
        self.open = threading.Event()
        self.open.set()


@pytest.fixture
def forwards(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forwards]:
    """A loaded reranker of one long document a pack, whose packs are counted."""
    with Reranker(str(checkpoint), dtype="float32", device="cpu", max_batch_tokens=1) as reranker:
        reranker.score("warm", SHORT)
        noted = Forwards(reranker)
        forward = transformers._forward

        def noting(loaded: transformers.LoadedModel, pack: transformers.Pack) -> list[float]:
            assert noted.open.wait(60)
            noted.sizes.append(len(pack.ids))
            return forward(loaded, pack)

        monkeypatch.setattr(transformers, "_forward", noting)
        yield noted
        noted.open.set()


async def test_a_cancelled_call_gives_the_model_back_after_its_pack(forwards: Forwards) -> None:
    call = asyncio.create_task(forwards.reranker.arerank("query", LONG))
    await auntil(lambda: len(forwards.sizes) >= 2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    before = len(forwards.sizes)
    assert before < 30
    await forwards.reranker.arerank("query", SHORT)
    assert len(forwards.sizes) <= before + 2  # the pack in progress, and the short call's own


async def test_a_request_to_the_service_gives_the_model_back_after_its_pack(
    forwards: Forwards,
) -> None:
    score = forwards.reranker.ajudge_many
    scheduler = Scheduler(score, Metrics("0", "m"), wait=0, max_queue=9, max_documents=99)
    scheduler.start()
    call = asyncio.create_task(scheduler.submit([ScoreRequest("query", "task", LONG)]))
    await auntil(lambda: len(forwards.sizes) >= 2)
    call.cancel()  # as it is where the client hangs up
    with pytest.raises(asyncio.CancelledError):
        await call
    before = len(forwards.sizes)
    assert before < 30
    await scheduler.submit([ScoreRequest("query", "task", SHORT)])
    assert len(forwards.sizes) <= before + 2  # the pack in progress, and the short request's own
    await scheduler.stop()


async def test_a_short_call_waits_for_a_pack_of_each_long_one(forwards: Forwards) -> None:
    """Five long calls of 60 packs: no more than one pack of each comes before a short call's."""
    calls = [asyncio.create_task(forwards.reranker.ascore(f"q {n}", LONG)) for n in range(5)]
    await auntil(lambda: len(forwards.sizes) >= 7)
    before = len(forwards.sizes)
    scores = await forwards.reranker.ascore("q 0", LONG[:1])
    assert len(forwards.sizes) - before <= 13  # it encodes in one turn and computes in the next
    answers = await asyncio.gather(*calls)
    assert len(forwards.sizes) == 5 * 60 + 1
    assert answers[0][0] == pytest.approx(scores[0], abs=1e-5)


def test_short_calls_of_threads_do_not_wait_for_a_long_one(forwards: Forwards) -> None:
    with ThreadPoolExecutor(4) as pool:
        long = pool.submit(forwards.reranker.score, "query", LONG)
        until(lambda: len(forwards.sizes) >= 2)
        short = [pool.submit(forwards.reranker.score, "query", SHORT) for _ in range(3)]
        for call in short:
            call.result(60)
        assert not long.done()
        expected = long.result(60)
    assert len(forwards.sizes) == 63
    with Reranker(forwards.reranker.options.model, dtype="float32", device="cpu") as other:
        assert other.score("query", LONG) == pytest.approx(expected, abs=1e-5)


def test_all_waiting_calls_get_their_turn_before_any_gets_its_second(forwards: Forwards) -> None:
    """Twenty calls of three documents, whose lengths tell their packs apart."""
    forwards.open.clear()
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(forwards.reranker.score, "query", SHORT)
        worker = forwards.reranker.scorer._worker  # type: ignore[attr-defined]
        calls = []
        for n in range(20):
            documents = ["x " * (10 + n) + end for end in "abc"]
            calls.append(pool.submit(forwards.reranker.score, "query", documents))
            until(lambda: len(worker._jobs) == len(calls) + 1)
        forwards.open.set()
        for call in [first, *calls]:
            call.result(60)
    del forwards.sizes[0]
    turns = [forwards.sizes[start : start + 20] for start in range(0, 60, 20)]
    assert turns[0] == turns[1] == turns[2] == sorted(set(turns[0]))


def test_unloading_waits_for_the_calls_in_progress_and_holds_back_new_ones(
    forwards: Forwards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One model is in memory at a time."""
    loads: list[int] = []
    load_model = transformers.load_model

    def counting(options: object) -> transformers.LoadedModel:
        loads.append(len(forwards.sizes))
        gc.collect()
        return load_model(options)  # type: ignore[arg-type]

    monkeypatch.setattr(transformers, "load_model", counting)
    with ThreadPoolExecutor(3) as pool:
        long = pool.submit(forwards.reranker.score, "query", LONG)
        until(lambda: len(forwards.sizes) >= 2)
        unloading = pool.submit(forwards.reranker.unload)
        scorer = forwards.reranker.scorer
        until(lambda: bool(scorer._unloads))  # type: ignore[attr-defined]
        later = pool.submit(forwards.reranker.score, "query", SHORT)
        for call in (unloading, long, later):
            call.result(60)
    assert loads == [60]


async def test_a_cancelled_call_of_many_queries_asks_a_scorer_of_ones_own_no_more() -> None:
    started, release = threading.Event(), threading.Event()
    seen: list[str] = []

    class Own:
        def score(self, query: str, documents: list[str], *, instruction: str) -> list[float]:
            seen.append(query)
            started.set()
            release.wait(60)
            return [0.0] * len(documents)

    async with Reranker(scorer=Own()) as reranker:
        many = reranker.arerank_many([f"many {n}" for n in range(50)], [["d"]] * 50)
        call = asyncio.create_task(many)
        while not started.is_set():
            await asyncio.sleep(0.001)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        release.set()
        await reranker.ascore("short", ["d"])
    assert seen == ["many 0", "short"]


async def test_a_short_call_comes_between_the_queries_of_a_long_one() -> None:
    seen: list[str] = []
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Own:
        def score(self, query: str, documents: list[str], *, instruction: str) -> list[float]:
            seen.append(query)
            loop.call_soon_threadsafe(started.set)
            time.sleep(0.005)
            return [0.0] * len(documents)

    async with Reranker(scorer=Own()) as reranker:
        many = reranker.arerank_many([f"many {n}" for n in range(200)], [["d"]] * 200)
        call = asyncio.create_task(many)
        await started.wait()
        await reranker.ascore("short", ["d"])
        assert not call.done()
        assert len(await call) == 200
    assert "short" in seen[:100]


async def test_a_short_call_does_not_wait_until_a_long_one_is_split() -> None:
    """Twenty documents of 300,000 characters are counted; the short call's is among the first."""
    counted: list[int] = []

    class Counting:
        def count_tokens(self, texts: list[str]) -> list[int]:
            counted.extend(map(len, texts))
            return [1 for _ in texts]

        def score(self, query: str, documents: list[str], *, instruction: str) -> list[float]:
            return [0.0] * len(documents)

    async with Reranker(scorer=Counting(), long_documents="windows") as reranker:
        await reranker.ascore("query", ["warm"])
        documents = [f"{n} " + "word " * 60_000 for n in range(20)]
        long = asyncio.create_task(reranker.ascore("query", documents))
        short = asyncio.create_task(reranker.ascore("query", ["short"]))
        assert len(await short) == 1
        assert len(await long) == 20
    places = [place for place, size in enumerate(counted) if size > 100_000]
    assert len(places) == 20
    assert counted.index(len("short")) < places[4]


INTERRUPTED = """
import signal, sys, threading, time
from shared_core import Reranker
from shared_core.scorers.local import scorer as transformers

reranker = Reranker(sys.argv[1], dtype="float32", device="cpu", max_batch_tokens=1)
documents = [f"number {n} " * 20 for n in range(40)]
expected = reranker.score("query", documents)
forward, forwards = transformers._forward, []
def noting(loaded, pack):
    forwards.append(len(pack.ids))
    if len(forwards) == 3:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    time.sleep(0.02)
    return forward(loaded, pack)
transformers._forward = noting
try:
    reranker.score("query", documents)
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted", len(forwards) < 20)
again = reranker.score("query", documents)
print("usable", max(abs(a - b) for a, b in zip(again, expected)) < 1e-5, len(forwards) < 60)
"""

ENDING = """
import asyncio, sys, threading, time
from shared_core import Reranker

reranker = Reranker(sys.argv[1], dtype="float32", device="cpu", max_batch_tokens=1)
reranker.score("query", ["document"])
documents = [f"number {n} " * 50 for n in range(20_000)]

# A loop that is closed in the middle of a call, and another one that goes on.
loop = asyncio.new_event_loop()
task = loop.create_task(reranker.ascore("query", documents[:2000]))
loop.run_until_complete(asyncio.sleep(0.5))
task._log_destroy_pending = False
loop.close()
print("another loop", len(asyncio.run(reranker.ascore("query", ["document"]))))

# The interpreter ends with many forwards to go, and calls waiting.
for _ in range(3):
    threading.Thread(target=reranker.score, args=("query", documents), daemon=True).start()
time.sleep(0.5)
print("ends", flush=True)
"""


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (INTERRUPTED, ["interrupted True", "usable True True"]),
        (ENDING, ["another loop 1", "ends"]),
    ],
    ids=["interrupt", "end"],
)
def test_an_interrupt_and_the_end_of_the_program(
    checkpoint: Path, script: str, lines: list[str]
) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", script, str(checkpoint)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.stdout.splitlines() == lines, finished.stderr
    assert finished.returncode == 0, finished.stderr
