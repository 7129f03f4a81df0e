"""Ctrl-C and SIGTERM: a command stops between two lines, and says by its exit code that it did."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import typer
from rich.console import Console
from typing_extensions import Self


class _Stopped(KeyboardInterrupt):
    """The process was asked to stop; ``args[0]`` is the signal."""


class Stopping:
    """Ends a command with the exit code 128 + signal, but never in the middle of a line.

    Args:
        message: What to print to standard error then.
    """

    def __init__(self, message: str = "") -> None:
        self._message = message
        self._holding = False
        self._pending: int | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) == self._handle:
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, usual)
        if isinstance(error, _Stopped):
            if self._message:
                Console(stderr=True).print(self._message, highlight=False, soft_wrap=True)
            raise typer.Exit(128 + error.args[0]) from None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Finish the block before stopping; at a second signal, stop at once."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._pending is not None:
            raise _Stopped(self._pending)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._holding and self._pending is None:
            self._pending = number
        else:
            raise _Stopped(number)
