"""An evaluation's progress and figures, for people."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typing_extensions import Self

if TYPE_CHECKING:
    from shared_core.evaluation import Progress as Done
    from shared_core.evaluation import Report

_SECONDS_BETWEEN_LINES = 30.0  # where the progress goes to a file


class Bar:
    """Shows how far the scoring is: a bar on a terminal, a line now and then elsewhere.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.fields[said]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("queries"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, said="first stage")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: Done) -> None:
        """Show how far it is."""
        said = f"system {done.system}" + (f", {done.known} known" if done.known else "")
        self._progress.update(self._task, completed=done.done, total=done.total, said=said)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            self._console.print(
                f"{said}: {done.done} of {done.total} queries", highlight=False, soft_wrap=True
            )


def print_report(report: Report, out: Path, console: Console) -> None:
    """Print the figures, what is to be known of them, and what to configure."""
    from shared_core.evaluation.measures import shown
    from shared_core.evaluation.report import FIRST

    data = report.dataset
    console.print(
        f"{escape(data.name)}: {len(data.queries):,} queries, {len(data.documents):,} documents; "
        f"{report.right[1]:,} of {report.right[0]:,} relevant ones are among the candidates",
        highlight=False,
    )
    for note in (*data.notes, *report.first_stage.notes):
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)
    table = Table()
    table.add_column("")
    table.add_column("ranked by", overflow="fold")
    for name in report.measures:
        table.add_column(shown(name), justify="right")
    table.add_column("p", justify="right")
    table.add_row(
        "",
        escape(report.first_stage.name),
        *(f"{report.before_figures[name].mean:.3f}" for name in report.measures),
        "",
    )
    main = report.measures[0]
    for one in report.systems:
        compared = report.comparison(main, FIRST, one.letter)
        table.add_row(
            one.letter,
            f"{escape(one.name)}\n[dim]{escape(one.instruction)}[/]",
            *(_with_interval(one.figures[name]) for name in report.measures),
            p_value(compared.p_corrected),
        )
    table.add_row(
        "", "[dim]best order[/]", *(f"[dim]{report.ceiling[m]:.3f}[/]" for m in report.measures), ""
    )
    console.print(table)
    console.print(
        f"[dim]p: of the change in {shown(main)} against the first stage (paired randomisation "
        "test, Holm's correction for all comparisons). Below the figures, their 95 % intervals.[/]",
        highlight=False,
    )
    for one in report.systems:
        if one.timing is not None:
            console.print(
                f"{one.letter}: {one.timing.median:.3f} s a query (median)"
                + (f", {one.tokens_per_query:,.0f} tokens" if one.tokens_per_query else ""),
                highlight=False,
            )
        if one.suggestion is not None:
            both = one.suggestion.both
            console.print(
                f"{one.letter}: suggested top_k={both.top_k}, "
                f"score_threshold={both.threshold:.4g}: "
                f"{both.answered:.1%} of the queries with a right candidate keep one, "
                f"{both.dropped:.1%} of the candidates are dropped",
                highlight=False,
            )
    console.print(f"written: {escape(str(out / 'report.html'))}", highlight=False, soft_wrap=True)


def _with_interval(one: object) -> str:
    from shared_core.evaluation.significance import Estimate

    assert isinstance(one, Estimate)  # noqa: S101  # for the type checker
    return f"{one.mean:.3f}\n[dim]{one.low:.3f}–{one.high:.3f}[/]"


def p_value(p: float) -> str:
    """Return a p-value as tables have it.

    >>> p_value(0.0002), p_value(0.0312), p_value(1.0)
    ('<0.001', '0.031', '1.000')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"
