"""Fork safety: child processes renew locks and threads, and native calls are not interrupted.

A forked child has its parent's memory and none of its threads: workers are gone, locks that another
thread held are held for ever, and connections are shared with the parent. So objects with any of
these register here, and the locks of native libraries are kept free while a process forks.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_PATIENCE = 5.0  # seconds that a fork waits for the step in progress, over all guards


class Renewable(Protocol):
    """An object with state that is invalid in a forked child."""

    def renew(self) -> None:
        """Replace locks, threads and connections; the child calls it before anything else."""
        ...


class ForkGuard:
    """A lock held during work in a library that must not be forked meanwhile.

    A fork waits for it, though not for ever.

    Attributes:
        is_torn: Whether this process was forked in the middle of such work all the same, so that
            the library may wait for locks that are never released.
    """

    def __init__(self) -> None:
        self.is_torn = False
        self._lock = threading.RLock()
        self._number = next(_numbers)
        _guards.add(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. A fork by the same thread does not wait."""
        lock = self._lock
        with lock:
            yield

    def _begin(self, deadline: float) -> bool:
        return self._lock.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def _end_in_parent(self) -> None:
        self._lock.release()

    def _end_in_child(self, was_free: bool) -> None:
        self.is_torn = self.is_torn or not was_free
        self._lock = threading.RLock()


_numbers = itertools.count()
_guards: weakref.WeakSet[ForkGuard] = weakref.WeakSet()
_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()
_forking = threading.local()


def renew_in_children(renewable: Renewable) -> None:
    """Register an object to be renewed in every child forked while it exists."""
    _renewables.add(renewable)


def _before() -> None:
    deadline = time.monotonic() + _PATIENCE
    # Always in the same order, so that two threads that fork do not wait for each other.
    guards = sorted(_guards, key=lambda guard: guard._number)
    _forking.guards = [(guard, guard._begin(deadline)) for guard in guards]


def _after_in_parent() -> None:
    for guard, was_free in _forking.guards:
        if was_free:
            guard._end_in_parent()
    _forking.guards = []


def _after_in_child() -> None:
    for guard, was_free in _forking.guards:
        guard._end_in_child(was_free)
    _forking.guards = []
    for renewable in list(_renewables):
        renewable.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(
        before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
    )
