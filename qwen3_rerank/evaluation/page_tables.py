"""The tables of the page: figures, comparisons, time."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rerank.evaluation import page_cascades, page_details
from qwen3_rerank.evaluation.findings import Findings
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.page_parts import (
    cell,
    change_cell,
    figure,
    named,
    p_value,
    table,
    text,
)


def figures(report: Findings) -> str:
    """Return the figures of the first stage and of every system."""
    rows = [
        [
            f"{text(report.first_stage.name)} <small>before</small>",
            *(figure(report.before_figures[name]) for name in report.measures),
        ]
    ]
    for system in report.systems:
        label = named(system.letter, system.name)
        label += f"<small>{text(system.instruction, 300)}</small>"
        rows.append([label, *(figure(system.figures[name]) for name in report.measures)])
    rows.append(
        [
            "candidates in the best order <small>the most that can be had</small>",
            *(f"{report.ceiling[name]:.3f}" for name in report.measures),
        ]
    )
    return "<h2>Figures</h2>\n" + table(["", *map(shown, report.measures)], rows)


def comparisons(report: Findings) -> str:
    """Return every two systems, with the significance of their difference."""
    main, others = report.measures[0], report.measures[1:]
    rest = [row for name in others for row in _compared(report, name)]
    more = f"<details><summary>By the other measures</summary>{_pairs(rest)}</details>"
    return f"<h2>Comparisons</h2>\n{_pairs(_compared(report, main))}\n{more if rest else ''}"


def _pairs(rows: Sequence[Sequence[str]]) -> str:
    head = ["", "measure", "change", "p, corrected", "p alone", "queries up / equal / down"]
    return table(head, rows)


def _compared(report: Findings, measure: str) -> list[list[str]]:
    rows = []
    for comparison in report.comparisons:
        if comparison.measure != measure:
            continue
        equal = (
            len(report.dataset.queries) - comparison.difference.better - comparison.difference.worse
        )
        rows.append(
            [
                cell(f"{comparison.first} → {comparison.second}"),
                text(shown(comparison.measure)),
                change_cell(comparison.difference.estimate),
                p_value(comparison.p_corrected),
                p_value(comparison.difference.p),
                f"{comparison.difference.better} / {equal} / {comparison.difference.worse}",
            ]
        )
    return rows


def time(report: Findings) -> str:
    """Return latency and tokens. This section alone differs between two runs."""
    rows = []
    for system in report.systems:
        timing = system.timing
        times = ["–"] * 3 if timing is None else [timing.median, timing.mean, timing.p95]
        tokens = (system.tokens_per_query, system.tokens_per_document)
        rows.append(
            [
                named(system.letter, system.name),
                *(value if isinstance(value, str) else f"{value:.3f} s" for value in times),
                *("–" if count is None else f"{count:,.0f}" for count in tokens),
            ]
        )
    rows += page_cascades.time_rows(report)
    head = ["", "median", "mean", "95th percentile", "tokens a query", "tokens a document"]
    return (
        '<section id="time"><h2>Time and tokens</h2>\n<p class="soft">Of one query with all its '
        "candidates, one after another, the model being loaded. Tokens are those of whole prompts; "
        "a prefix that documents share is computed once, and counted for each.</p>\n"
        + table(head, rows)
        + page_details.seconds_by_depth(report)
        + "</section>"
    )
