"""An evaluation's progress and figures, for people."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from qwen3_rerank.cli.bar import Bar

if TYPE_CHECKING:
    from qwen3_rerank.evaluation import Progress as Done
    from qwen3_rerank.evaluation import Report


class EvaluationBar(Bar):
    """Shows how far the scoring is."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console,
            TextColumn("{task.fields[said]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("queries"),
            TimeRemainingColumn(),
            said="first stage",
        )

    def show(self, done: Done) -> None:
        """Show how far it is."""
        said = f"system {done.system}" + (f", {done.known} known" if done.known else "")
        line = f"{said}: {done.done} of {done.total} queries"
        self.update(line=line, completed=done.done, total=done.total, said=said)


def print_report(report: Report, out: Path, console: Console) -> None:
    """Print the figures, the remarks about them, and the suggested settings."""
    from qwen3_rerank.evaluation.evidence import in_a_sentence
    from qwen3_rerank.evaluation.fusing import best_weight
    from qwen3_rerank.evaluation.measures import shown

    data = report.dataset
    say = partial(console.print, highlight=False)
    say(
        f"{escape(data.name)}: {len(data.queries):,} queries, {len(data.documents):,} documents; "
        f"{report.right[1]:,} of {report.right[0]:,} relevant ones are among the candidates"
    )
    for note in (*data.notes, *report.first_stage.notes):
        say(f"[yellow]note:[/] {escape(note)}")
    console.print(_figures(report))
    say(
        f"[dim]In brackets: 95 % intervals. p: of the change in {shown(report.measures[0])} from "
        "the first stage, by a paired randomisation test, corrected by Holm's method.[/]"
    )
    tasks = {system.instruction for system in report.systems}
    for system in report.systems if len(tasks) > 1 else ():
        say(f"{system.letter}: {escape(system.instruction)}")
    for system in report.systems:
        if system.timing is not None:
            tokens = f", {system.tokens_per_query:,.0f} tokens" if system.tokens_per_query else ""
            say(f"{system.letter}: {system.timing.median:.3f} s a query (median){tokens}")
        if system.suggestion is not None:
            both = system.suggestion.both
            say(
                f"{system.letter}: suggested top_k={both.top_k}, "
                f"score_threshold={both.threshold:.4g}: "
                f"{both.answered:.1%} of the queries with a right candidate keep one, "
                f"{both.dropped:.1%} of the candidates are dropped"
            )
        say(f"{system.letter}: {escape(best_weight(system.fusion))}")
        if system.evidence is not None:
            say(f"{system.letter}: {in_a_sentence(system.evidence)}")
        if system.calibrated is not None:
            say(escape(f"{system.letter}: {system.calibrated.in_words()}"))
    for cascade in report.cascades:
        for line in cascade.lines():
            say(line)
    say(f"written: {escape(str(out / 'report.html'))}", soft_wrap=True)


def _figures(report: Report) -> Table:
    """Return the figures as a table."""
    from qwen3_rerank.evaluation.findings import FIRST
    from qwen3_rerank.evaluation.measures import shown

    main, *others = report.measures
    table = Table()
    table.add_column("ranked by", overflow="fold", min_width=12)
    for name in report.measures:
        table.add_column(shown(name), justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    rows = [(escape(report.first_stage.name), report.before_figures, "")]
    for system in report.systems:
        compared = report.comparison(main, FIRST, system.letter)
        label = f"[bold]{system.letter}[/] {escape(system.name)}"
        rows.append((label, system.figures, p_value(compared.p_corrected)))
    for label, figures, p in rows:
        value = figures[main]
        table.add_row(
            label,
            f"{value.mean:.3f} [dim]({value.low:.3f}–{value.high:.3f})[/]",
            *(f"{figures[name].mean:.3f}" for name in others),
            p,
        )
    ceiling = (f"[dim]{report.ceiling[name]:.3f}[/]" for name in report.measures)
    table.add_row("[dim]best order[/]", *ceiling, "")
    return table


def p_value(p: float) -> str:
    """Return a p-value as tables have it.

    >>> p_value(0.0002), p_value(0.0312), p_value(1.0)
    ('<0.001', '0.031', '1.000')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"
