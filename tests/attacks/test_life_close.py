"""`close` with calls waiting, and with calls that begin at the same time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.waiting import auntil

from shared_core import ClosedError, Reranker, Scored, ScoreRequest
from shared_core.scorers.local import scorer as transformers

DOCUMENTS = [f"document number {n}" for n in range(8)]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Events that a forward sets as it begins, and waits for."""
    begun, release = threading.Event(), threading.Event()
    forward = transformers._forward

    def gated(loaded: transformers.LoadedModel, pack: transformers.Pack) -> list[float]:
        begun.set()
        assert release.wait(60)
        return forward(loaded, pack)

    monkeypatch.setattr(transformers, "_forward", gated)
    return begun, release


async def test_calls_that_wait_for_the_model_end_with_closed_error(
    checkpoint: Path, gate: tuple[threading.Event, threading.Event]
) -> None:
    begun, release = gate
    reranker = Reranker(str(checkpoint), dtype="float32", device="cpu", max_batch_tokens=1)
    waiting = [asyncio.create_task(reranker.arerank("query", DOCUMENTS)) for _ in range(4)]
    waiting.append(asyncio.create_task(reranker.ascore("query", DOCUMENTS)))
    with ThreadPoolExecutor(5) as pool:
        in_threads = [pool.submit(reranker.rerank, "query", DOCUMENTS) for _ in range(4)]
        await auntil(begun.is_set)
        worker = reranker.scorer._worker  # type: ignore[attr-defined]
        await auntil(lambda: len(worker._jobs) == 9)
        closing = asyncio.create_task(reranker.aclose())
        # They do not even wait for the forward in progress.
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert not closing.done()
        release.set()
        await closing
        outcomes += [call.exception(60) for call in in_threads]
    assert [type(outcome) for outcome in outcomes] == [ClosedError] * 9
    assert not reranker.is_loaded
    with pytest.raises(ClosedError):
        await reranker.arerank("query", DOCUMENTS)


async def test_passthrough_does_not_hide_that_it_was_closed(
    checkpoint: Path, gate: tuple[threading.Event, threading.Event]
) -> None:
    begun, release = gate
    reranker = Reranker(str(checkpoint), device="cpu", on_error="passthrough", max_batch_tokens=1)
    call = asyncio.create_task(reranker.arerank_many(["a", "b"], [DOCUMENTS, DOCUMENTS]))
    await auntil(begun.is_set)
    closing = asyncio.create_task(reranker.aclose())
    with pytest.raises(ClosedError):
        await call
    release.set()
    await closing


async def test_calls_that_wait_for_a_scorer_of_ones_own_end_with_closed_error() -> None:
    begun, release = threading.Event(), threading.Event()

    class Own:
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            begun.set()
            assert release.wait(60)
            return [0.0] * len(documents)

    reranker = Reranker(scorer=Own())
    calls = [asyncio.create_task(reranker.ascore(f"{n}", DOCUMENTS)) for n in range(5)]
    windows = reranker.arerank("by windows", DOCUMENTS, long_documents="windows")
    calls.append(asyncio.create_task(windows))  # type: ignore[arg-type]
    await auntil(begun.is_set)
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(reranker.aclose())
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    release.set()
    await closing
    assert [type(outcome) for outcome in outcomes] == [ClosedError] * 6


async def test_a_call_that_was_cancelled_before_the_close_stays_cancelled(
    checkpoint: Path, gate: tuple[threading.Event, threading.Event]
) -> None:
    begun, release = gate
    reranker = Reranker(str(checkpoint), device="cpu", max_batch_tokens=1)
    call = asyncio.create_task(reranker.ascore("query", DOCUMENTS))
    await auntil(begun.is_set)
    call.cancel()
    closing = asyncio.create_task(reranker.aclose())
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()
    await closing


def _storm(make: Callable[[], Reranker], rounds: int) -> list[Any]:
    """Close a reranker while four threads and a loop begin calls; return all that they raised."""
    raised: list[Any] = []

    def calls(reranker: Reranker, start: threading.Barrier, number: int) -> None:
        start.wait(60)
        try:
            for _ in range(50):
                if number:
                    reranker.score("query", DOCUMENTS[:2])
                else:
                    asyncio.run(reranker.ascore("query", DOCUMENTS[:2]))
        except ClosedError:
            pass
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is wrong
            raised.append(error)

    for turn in range(rounds):
        reranker, start = make(), threading.Barrier(6)
        threads = [threading.Thread(target=calls, args=(reranker, start, n)) for n in range(5)]
        for thread in threads:
            thread.start()
        start.wait(60)
        time.sleep(0.004 * turn)  # before, during and after the load
        reranker.close()
        states = [reranker.is_loaded]
        while any(thread.is_alive() for thread in threads):
            states.append(reranker.is_loaded)
            time.sleep(0.0005)
        states += [reranker.is_loaded, bool(getattr(reranker._runner._scorer, "is_loaded", False))]
        raised += [state for state in states if state]
        scorer = reranker._runner._scorer
        if getattr(scorer, "is_loaded", False):
            raised.append("the scorer is loaded")
    return raised


def test_no_call_loads_the_model_again_after_a_close(checkpoint: Path) -> None:
    assert _storm(lambda: Reranker(str(checkpoint), dtype="float32", device="cpu"), 20) == []


class Loading:
    """A scorer of one's own that loads in every call that finds it unloaded."""

    is_loaded = False

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        time.sleep(0.002)
        self.is_loaded = True
        return [[Scored(0.0) for _ in request.documents] for request in requests]

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        raise NotImplementedError

    def unload(self) -> None:
        self.is_loaded = False


def test_a_scorer_of_ones_own_is_left_unloaded_by_calls_that_a_close_overtakes() -> None:
    assert _storm(lambda: Reranker(scorer=Loading()), 20) == []
