"""The thread that serves callers without an event loop."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from support.waiting import until

from shared_core.errors import ClosedError
from shared_core.scorers.remote.loops import LoopThread

NAME = "loop-thread-under-test"


async def forty_two() -> int:
    await asyncio.sleep(0)
    return 42


def is_running() -> bool:
    return any(thread.name == NAME for thread in threading.enumerate())


def test_it_starts_on_first_use_and_ends_with_close() -> None:
    loops = LoopThread(NAME)
    assert not is_running()
    assert loops.run(forty_two()) == 42
    assert is_running()
    loops.close()
    until(lambda: not is_running())
    with pytest.raises(ClosedError):
        loops.run(forty_two())


def test_one_that_is_dropped_leaves_no_thread_behind() -> None:
    loops = LoopThread(NAME)
    assert loops.run(forty_two()) == 42
    del loops
    gc.collect()
    until(lambda: not is_running())


def test_closing_ends_the_wait_of_others_with_an_error() -> None:
    loops = LoopThread(NAME)
    errors: list[BaseException] = []
    started = threading.Event()

    async def forever() -> None:
        started.set()
        await asyncio.sleep(3600)

    def wait() -> None:
        try:
            loops.run(forever())
        except ClosedError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert started.wait(20)
    loops.close()
    waiting.join(20)
    assert len(errors) == 1
