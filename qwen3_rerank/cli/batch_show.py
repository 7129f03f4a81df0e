"""A batch's plan, progress and summary, for people."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from qwen3_rerank.cli.bar import Bar

if TYPE_CHECKING:
    from qwen3_rerank.batch import BatchPlan, BatchProgress, BatchSummary


class BatchBar(Bar):
    """Shows how far a batch is."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console,
            TextColumn("scoring"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            visible=False,
        )
        self._pairs = 0
        self._begun = time.monotonic()

    def begin(self, plan: BatchPlan) -> None:
        """Take the size of what is to be done from a plan."""
        self._pairs = plan.pairs_left
        self._begun = time.monotonic()
        self.update(total=max(1, plan.pairs_left), visible=True)

    def show(self, progress: BatchProgress) -> None:
        """Show how far it is."""
        speed = progress.pairs / max(time.monotonic() - self._begun, 1e-9)
        left = max(0, self._pairs - progress.pairs) / speed if speed else 0
        said = (
            f"{progress.pairs:,} pairs, {speed:,.1f}/s, block {progress.blocks_done} of "
            f"{progress.blocks}, {_time(left)} left"
        )
        said += f", {progress.errors} errors" if progress.errors else ""
        said += f", {progress.deaths} workers replaced" if progress.deaths else ""
        self.update(line=said, completed=progress.pairs, said=said)


def print_plan(plan: BatchPlan, console: Console) -> None:
    """Print what a batch will take."""
    table = Table(title="Plan", title_justify="left", show_header=False)
    table.add_row("rows", f"{plan.rows:,}, of which {plan.rows_left:,} are left")
    table.add_row("pairs left", f"{plan.pairs_left:,}")
    table.add_row("blocks", f"{plan.blocks:,}, of which {plan.blocks_done:,} are done")
    table.add_row("workers", f"{plan.workers:,}")
    if plan.tokens_left is not None:
        mean = f"{plan.tokens_per_pair:,.1f} a pair in a sample of {plan.sample_pairs:,}"
        table.add_row("tokens left", f"about {plan.tokens_left:,} ({mean})")
    if plan.pairs_per_second is not None:
        speed = f"{plan.pairs_per_second:,.1f} pairs/s"
        if plan.tokens_per_second is not None:
            speed += f", {plan.tokens_per_second:,.0f} tokens/s"
        table.add_row("speed", f"{speed} by one worker, measured on {plan.scored_pairs:,} pairs")
    if plan.seconds_left is not None:
        table.add_row("time left", f"about {_time(plan.seconds_left)}")
    for note in plan.notes:
        table.add_row("note", escape(note))
    console.print(table)


def print_summary(summary: BatchSummary, out: str, console: Console) -> None:
    """Print what a batch came to."""
    table = Table(title="Summary", title_justify="left", show_header=False)
    table.add_row("rows", f"{summary.rows:,}")
    table.add_row("pairs", f"{summary.pairs:,}")
    table.add_row("errors", f"{summary.errors:,}" + (" (in errors/)" if summary.errors else ""))
    if summary.truncated:
        table.add_row("truncated", f"{summary.truncated:,} documents lost their end")
    table.add_row("blocks", f"{summary.blocks:,}, of which {summary.blocks_skipped:,} were done")
    table.add_row("time", _time(summary.seconds))
    if summary.pairs_per_second is not None:
        speed = f"{summary.pairs_per_second:,.1f} pairs/s"
        if summary.tokens_per_second is not None:
            speed += f", {summary.tokens_per_second:,.0f} tokens/s"
        table.add_row("speed", speed)
    if summary.deaths:
        table.add_row("workers", f"{summary.deaths:,} died and were replaced")
    table.add_row("written to", escape(out))
    console.print(table)


def _time(seconds: float) -> str:
    """Return a time for people, such as 0:01:02, or 3 days, 4:00:00."""
    return f"{seconds:.1f} s" if seconds < 10 else str(timedelta(seconds=round(seconds)))
