"""A check's report as a table."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared_core.check.report import CheckReport

_MARKS = {
    "ok": "[green]ok[/]",
    "info": "[blue]info[/]",
    "warning": "[yellow]warning[/]",
    "wrong": "[bold red]WRONG[/]",
    "failed": "[bold red]FAILED[/]",
    "unreachable": "[bold red]UNREACHABLE[/]",
}
_VERDICTS = {
    0: "[green]The scores can be trusted.[/]",
    1: "[bold red]The scores are wrong.[/]",
    2: "[bold red]No scores could be had.[/]",
}


def print_report(report: CheckReport, console: Console) -> None:
    """Print the findings, the latency and the verdict."""
    table = Table(title=escape(report.target), title_justify="left", show_lines=False)
    table.add_column("what")
    table.add_column("is")
    table.add_column("seen", overflow="fold")
    for finding in report.findings:
        detail = escape(finding.detail)
        if finding.fix:
            detail += f"\n[bold]→ {escape(finding.fix)}[/]"
        table.add_row(finding.name, _MARKS[finding.status], detail)
    if report.latency_ms:
        times = ", ".join(f"{count}: {ms:.0f} ms" for count, ms in report.latency_ms.items())
        table.add_row("latency", _MARKS["info"], f"by number of documents: {times}")
    console.print(table)
    console.print(_VERDICTS[report.exit_code])
