"""The part of the page about two systems in turn."""

from __future__ import annotations

from qwen3_rerank.evaluation.cascading import CascadeReport
from qwen3_rerank.evaluation.findings import Findings
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.page_parts import change_cell, figure, table, text
from qwen3_rerank.evaluation.significance import Estimate


def section(report: Findings) -> str:
    """Return a table for every two systems in turn; nothing where there are none."""
    if not report.cascades:
        return ""
    return (
        '<h2>Two systems in turn</h2>\n<p class="soft">The first judges all candidates; the second '
        "its best ones, as many as keep says, and they come first. Tokens are means over queries."
        "</p>\n" + "\n".join(_table(report, cascade) for cascade in report.cascades)
    )


def time_rows(report: Findings) -> list[list[str]]:
    """Return the rows of the table of times: what each number of kept documents would take."""
    return [
        [
            f"{cascade.name}, keep = {row.keep} <small>estimated</small>",
            "–",
            f"{row.seconds:.3f} s",
            "–",
            "–" if row.tokens is None else f"{sum(row.tokens):,.0f}",
            "–",
        ]
        for cascade in report.cascades
        for row in cascade.rows
        if row.seconds is not None
    ]


def _table(report: Findings, cascade: CascadeReport) -> str:
    first, second = cascade.first, cascade.second
    figures = {system.letter: system.figures[cascade.measure] for system in report.systems}
    tokens = {system.letter: system.tokens_per_query for system in report.systems}
    head = [
        *(text(cascade.name), text(shown(cascade.measure)), f"from {first}", f"from {second}"),
        *(f"tokens of {first}", f"tokens of {second}"),
    ]
    rows = [_alone(first, figures[first], _count(tokens[first]), "0")]
    for row in cascade.rows:
        costs = (None, None) if row.tokens is None else row.tokens
        rows.append(
            [
                f"keep = {row.keep}",
                figure(row.figure),
                change_cell(row.from_first.estimate),
                change_cell(row.from_second.estimate),
                *(_count(cost) for cost in costs),
            ]
        )
    rows.append(_alone(second, figures[second], "0", _count(tokens[second])))
    return table(head, rows)


def _alone(letter: str, alone: Estimate, of_first: str, of_second: str) -> list[str]:
    label = f"{letter} alone"
    return [label, figure(alone), "", "", of_first, of_second]


def _count(tokens: float | None) -> str:
    return "–" if tokens is None else f"{tokens:,.0f}"
