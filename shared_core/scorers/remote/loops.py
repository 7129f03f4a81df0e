"""An event loop in a thread, so that sync callers use the async implementation."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from shared_core.errors import ClosedError
from shared_core.forking import renew_in_children

Result = TypeVar("Result")

# A forked child keeps its parent's loops, for ever unused: an end of one of them would take the
# file descriptors out of the selector that both processes share.
_inherited: list[asyncio.AbstractEventLoop] = []


class LoopThread:
    """Runs coroutines for threads that have no event loop. Started by the first of them.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Forget loop and thread, which are the parent process's."""
        if self._loop is not None:
            _inherited.append(self._loop)
        self._lock = threading.Lock()
        self._loop = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Return a coroutine's result; an interrupt of the waiting thread cancels it.

        Raises:
            ClosedError: The thread was closed, before or meanwhile.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except CancelledError:
            raise ClosedError("the reranker was closed while it was working") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel the running coroutines and end the thread."""
        with self._lock:
            self._is_closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._is_closed:
                raise ClosedError("the reranker is closed; make a new one")
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run_forever, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
                # One that is dropped without being closed does not leave its thread behind.
                weakref.finalize(self, _stop, self._loop).atexit = False
            return self._loop


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended already
        loop.call_soon_threadsafe(loop.stop)


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
