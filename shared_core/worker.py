"""A worker thread that runs jobs in alternating steps, so that short jobs end early.

A job is a generator: it yields between its steps and returns its result. Every job in progress gets
one step before any gets its next; one that was cancelled gets none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from shared_core.errors import ClosedError
from shared_core.forking import ForkGuard, renew_in_children

Result = TypeVar("Result")
Job = Generator[None, None, Result]


class Worker:
    """A thread, started by the first job and renewed in a forked child.

    Args:
        name: The thread's name.
        guard: The lock held during every step, so that no fork happens within a step.
    """

    def __init__(self, name: str, guard: ForkGuard | None = None) -> None:
        self._name = name
        self._guard = guard
        self._is_closed = False
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Forget the thread and the jobs, which are the parent process's."""
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._jobs: set[Future[Any]] = set()
        self._thread: int | None = None

    @property
    def is_started(self) -> bool:
        """Whether the thread was started and is not closed."""
        return self._executor is not None

    def submit(self, job: Job[Result]) -> Future[Result]:
        """Return a job's future; if it is cancelled, the job ends after its present step.

        Raises:
            ClosedError: The worker is closed, or the interpreter is about to end.
        """
        future: Future[Result] = Future()
        with self._lock:
            self._jobs.add(future)
            try:
                self._queue(job, future)
            except ClosedError:
                self._jobs.discard(future)
                raise
        return future

    def run(self, job: Job[Result]) -> Result:
        """Return the result of a job; an interrupt of the waiting thread cancels it."""
        future = self.submit(job)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def arun(self, job: Job[Result]) -> Result:
        """`run` without blocking the event loop; a cancelled call cancels the job."""
        return await asyncio.wrap_future(self.submit(job))

    def close(self) -> None:
        """Close after the step in progress. Unfinished jobs fail with `ClosedError`."""
        with self._lock:
            self._is_closed = True
            executor, self._executor = self._executor, None
            jobs = list(self._jobs)
        for future in jobs:
            self._end(future, ClosedError("the reranker was closed while it was working"))
        if executor is not None:
            executor.shutdown(wait=threading.get_ident() != self._thread)

    def _queue(self, job: Job[Any], future: Future[Any]) -> None:
        if self._is_closed:
            raise ClosedError("the reranker is closed; make a new one (unload() only frees)")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        try:
            self._executor.submit(self._step, job, future)
        except RuntimeError as error:
            raise ClosedError("the interpreter is about to end: nothing more is scored") from error

    def _step(self, job: Job[Any], future: Future[Any]) -> None:
        """Run one step of a job, and queue the next step."""
        self._thread = threading.get_ident()
        if future.done():
            job.close()
            self._end(future, None)
            return
        try:
            if self._guard is None:
                next(job)
            else:
                with self._guard.held():
                    next(job)
            with self._lock:
                self._queue(job, future)
        except StopIteration as end:
            self._end(future, None, end.value)
        except BaseException as error:  # noqa: BLE001  # it is the caller's, wherever it waits
            job.close()
            self._end(future, error)

    def _end(self, future: Future[Any], error: BaseException | None, result: Any = None) -> None:
        """Set a job's result or error, unless it has one."""
        with self._lock:
            is_first = future in self._jobs
            self._jobs.discard(future)
        if is_first and future.set_running_or_notify_cancel():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
