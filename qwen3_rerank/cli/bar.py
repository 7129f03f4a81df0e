"""Progress of a long command: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn
from typing_extensions import Self

_SECONDS_BETWEEN_LINES = 30.0


class Bar:
    """A progress bar with one task, to be entered.

    Args:
        columns: The columns of the bar; ``{task.fields[said]}`` is the latest text.
    """

    def __init__(
        self, console: Console, *columns: ProgressColumn, said: str = "", visible: bool = True
    ) -> None:
        self._console = console
        self._said = time.monotonic()
        self._progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._task = self._progress.add_task("", total=None, said=said, visible=visible)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, *, line: str = "", **changes: Any) -> None:
        """Change the task, as `rich.progress.Progress.update` does.

        Args:
            line: The line to print without a terminal, if none was printed for half a minute.
            changes: Changes of the task's fields.
        """
        self._progress.update(self._task, **changes)
        now = time.monotonic()
        if line and not self._console.is_terminal and now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            self._console.print(line, highlight=False, soft_wrap=True)
