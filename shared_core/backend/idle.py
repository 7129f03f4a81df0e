"""The idle clock: frees a model that nobody has used for some time."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared_core.forking import renew_in_children


class IdleClock:
    """Frees something a while after its last use, never during one.

    It keeps neither the object that is freed alive, nor the process. A forked child starts anew
    with its own first use.

    Args:
        seconds: How long the model may stay unused; ``None`` is for ever.
        free: A bound method that frees it. It may be called while a use begins.
    """

    def __init__(self, seconds: float | None, free: Callable[[], None]) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._free = weakref.WeakMethod(free)
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Forget the parent process's uses and its timer."""
        self._lock = threading.Lock()
        self._uses = 0
        self._last = 0.0
        self._timer: threading.Timer | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """Hold off while the model is used; uses may overlap and nest."""
        if self._seconds == math.inf:
            yield
            return
        process = os.getpid()
        with self._lock:
            self._uses += 1
        try:
            yield
        finally:
            if os.getpid() == process:  # a forked child drops its parent's uses
                with self._lock:
                    self._uses -= 1
                    self._last = time.monotonic()
                    if not self._uses and self._timer is None:
                        self._set_timer(self._seconds)

    def stop(self) -> None:
        """Free nothing any more, until the next use."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None

    def _set_timer(self, seconds: float) -> None:
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), _ring, [weakref.ref(self)])
        timer.daemon = True
        timer.name = "qwen3-rerank-idle"
        try:
            timer.start()
        except RuntimeError:  # the interpreter is about to end, or no thread is left
            return
        self._timer = timer

    def _ring(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():  # stopped meanwhile
                return
            self._timer = None
            left = self._last + self._seconds - time.monotonic()
            if self._uses:  # the last of them sets the timer
                return
            if left > 0:
                self._set_timer(left)
                return
        free = self._free()
        if free is not None:
            free()


def _ring(clock: weakref.ref[IdleClock]) -> None:
    """Tell a clock that its time is over, if it still exists."""
    if (there := clock()) is not None:
        there._ring()
