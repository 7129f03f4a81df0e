"""Terminal tables of a run."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.bench.markdown import overhead_lines
from benchmarks.bench.result import Result
from benchmarks.bench.summary import Row, Spread, rows


def print_result(result: Result, console: Console) -> None:
    """Print a table per workload, the contestants that did not run, and disagreements."""
    everything = rows(result)
    model = result.model
    console.print(
        f"[bold]{escape(model.name)}[/], {model.values} values, {model.dtype}, {model.device}; "
        f"{result.rounds} rounds, medians (quartiles); matrix products at best "
        f"{result.peak_flops / 1e9:,.0f} GFLOP/s"
    )
    for workload in result.workloads:
        console.print(
            _table(workload.name, result, [r for r in everything if r.workload == workload.name])
        )
    for facts in result.contestants:
        if facts.status != "ran":
            console.print(f"{escape(facts.name)}: {facts.status}: {escape(facts.reason)}")
    for line in overhead_lines(result, everything):
        console.print(escape(line), highlight=False)
    for reason in result.skipped:
        console.print(f"skipped: {escape(reason)}")


def _table(name: str, result: Result, group: list[Row]) -> Table:
    facts = next(workload for workload in result.workloads if workload.name == name)
    title = f"{name}: {facts.described}"
    ours = [row for row in group if not row.peer and "cache" not in row.variant]
    table = Table(title=title, title_justify="left")
    table.add_column("who", overflow="fold")
    for heading in (
        "seconds",
        "p95",
        "prompt tok/s",
        "unique tok/s",
        "docs/s",
        "MiB over weights",
        "of peak",
    ):
        table.add_column(heading, justify="right")
    for row in ours:
        table.add_column(f"× as long as\n{escape(row.name)}", justify="right")
    table.add_column("scores")
    for row in group:
        cells = [
            _shown(row),
            f"{row.seconds.median:.3g} ({row.seconds.low:.3g}–{row.seconds.high:.3g})",
            f"{row.p95:.3g}",
            f"{row.prompt_tokens_per_second:,.0f}",
            f"{row.unique_tokens_per_second:,.0f}",
            f"{row.documents_per_second:,.1f}",
            f"{row.over_weights / 2**20:,.0f}",
            "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
            *(ratio(row.faster.get(contestant.name)) for contestant in ours),
            verdict(row),
        ]
        table.add_row(*cells)
    return table


def ratio(value: Spread | None) -> str:
    """Return a ratio with its quartiles."""
    return "" if value is None else f"{value.median:.2f} ({value.low:.2f}–{value.high:.2f})"


def verdict(row: Row) -> str:
    """Return whether the scores are right, in a few letters."""
    if row.agrees is None:
        return f"? {row.closeness}".rstrip()
    mark = "ok" if row.agrees else "[bold red]DISAGREES[/]"
    return f"{mark} {row.closeness}"


def _shown(row: Row) -> str:
    batch = f" (batch {row.variant['batch']})" if "batch" in row.variant else ""
    return escape(row.name) + batch
