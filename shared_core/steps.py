"""Work that waits, written once for threads and for event loops.

Such work is a generator. Where it has to wait it yields a `Wait`, by way of `wait`, and where other
work may have a turn it yields ``None``. `run` takes it to its end in a thread, `arun` in an event
loop, and `as_job` on a `Worker`. The generators do not stand in the way of a call: while it is
waited for, nothing but `run` lies between the caller and the backend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar

from shared_core.worker import Job, Worker

Result = TypeVar("Result")


class Wait(NamedTuple):
    """A call that takes a while, in two forms.

    Attributes:
        blocking: The call for threads.
        awaited: The call for event loops; ``None`` for work that event loops leave to a worker.
    """

    blocking: Callable[[], Any]
    awaited: Callable[[], Awaitable[Any]] | None = None


Steps = Generator[Wait | None, Any, Result]

_HERE = object()


def wait(
    blocking: Callable[[], Result], awaited: Callable[[], Awaitable[Result]] | None = None
) -> Steps[Result]:
    """Return what a call returns; see `Wait`."""
    result: Result = yield Wait(blocking, awaited)
    return result


def on_worker(worker: Worker, steps: Steps[Result]) -> Steps[Result]:
    """Have a worker take these steps for an event loop; a thread goes on and takes them itself."""
    result = yield Wait(lambda: _HERE, lambda: worker.arun(as_job(steps)))
    return (yield from steps) if result is _HERE else result


def run(steps: Steps[Result]) -> Result:
    """Return the result of steps that this thread takes."""
    try:
        step = next(steps)
        while True:
            try:
                answer = step.blocking() if step else None
            except BaseException as error:  # noqa: BLE001, PERF203  # the steps decide
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


async def arun(steps: Steps[Result]) -> Result:
    """`run` without blocking the event loop."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await step.awaited() if step and step.awaited else None
            except asyncio.CancelledError:  # noqa: PERF203  # nobody waits for a result any more
                steps.close()
                raise
            except BaseException as error:  # noqa: BLE001  # the steps decide
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


def as_job(steps: Steps[Result]) -> Job[Result]:
    """Return steps as the job of a worker, which has its turns where they yield ``None``."""
    try:
        step = next(steps)
        while True:
            try:
                answer = step.blocking() if step else (yield)
            except BaseException as error:  # noqa: BLE001, PERF203  # the steps decide
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result
