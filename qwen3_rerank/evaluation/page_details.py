"""The page's parts that look closer: by depth, by kind of query, and two systems by query."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from qwen3_rerank.evaluation import plots
from qwen3_rerank.evaluation.cases import Top, tops
from qwen3_rerank.evaluation.depth import Depth
from qwen3_rerank.evaluation.findings import Findings, SystemReport
from qwen3_rerank.evaluation.groups import Group, by_length, by_script
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.page_parts import (
    change_cell,
    figure,
    images,
    named,
    p_value,
    table,
    text,
)


def depths(report: Findings, system: SystemReport) -> str:
    """Return how many candidates are worth reranking."""
    if len(system.depths) < 2:
        return ""
    measure = shown(report.measures[0])
    rows = [_depth(depth, system) for depth in system.depths]
    head = ["", text(measure), "change from all", "p", "work", "tokens a query"]
    image = plots.by_depth(report, system)
    caption = f"{measure} with so many candidates reranked, and its 95 % interval."
    return (
        "<h3>How many candidates to rerank</h3>\n"
        '<p class="soft">The others stay behind, in the order of the first stage. Work is the '
        "share of the candidates' text; tokens follow from it, and seconds, under “Time and "
        f"tokens”.</p>\n{images((image, caption))}\n{table(head, rows)}"
    )


def seconds_by_depth(report: Findings) -> str:
    """Return the seconds of a query by depth; a part of the section that differs between runs."""
    timed = [system for system in report.systems if system.timing and len(system.depths) > 1]
    if not timed:
        return ""
    places = sorted({depth.depth for system in timed for depth in system.depths})
    rows = []
    for system in timed:
        mean = system.timing.mean if system.timing else 0.0
        by_place = {depth.depth: f"{depth.share * mean:.3f} s" for depth in system.depths}
        rows.append(
            [named(system.letter, system.name), *(by_place.get(place, "–") for place in places)]
        )
    return (
        '<p class="soft">By the number of candidates that are reranked, in proportion to their '
        "texts:</p>\n" + table(["", *map(str, places)], rows)
    )


def groups(report: Findings) -> str:
    """Return the main measure by length and script of the queries."""
    parts = []
    for title, found in (("length", by_length(report)), ("script", by_script(report))):
        if len(found) > 1:
            parts.append(f"<h3>By {title} of the query</h3>\n{_table_of(report, found)}")
    return "<h2>By kind of query</h2>\n" + "\n".join(parts) if parts else ""


def pairs(report: Findings) -> str:
    """Return every two systems query by query: where they differ most, and the first of each."""
    parts = []
    for first, second in combinations(report.systems, 2):
        found = tops(report, first, second)
        measure = shown(report.measures[0])
        body = "\n".join(_pair(top, first.letter, second.letter) for top in found)
        parts.append(
            f"<details><summary>{first.letter} and {second.letter}: where {text(measure)} differs "
            f"most ({len(found)})</summary>{body}</details>"
        )
    return "<h2>Query by query</h2>\n" + "\n".join(parts) if parts else ""


def _depth(depth: Depth, system: SystemReport) -> list[str]:
    tokens = system.tokens_per_query
    return [
        f"first {depth.depth:,}" if depth.depth < system.depths[-1].depth else "all",
        figure(depth.figure),
        change_cell(depth.change.estimate),
        p_value(depth.change.p),
        f"{depth.share:.0%}",
        "–" if tokens is None else f"{tokens * depth.share:,.0f}",
    ]


def _table_of(report: Findings, found: Sequence[Group]) -> str:
    letters = [system.letter for system in report.systems]
    head = ["", "queries", "before", *letters, *(f"change by {letter}" for letter in letters)]
    rows = [
        [
            text(group.kind),
            f"{group.queries:,}",
            figure(group.before),
            *(figure(group.after[letter]) for letter in letters),
            *(change_cell(group.change[letter].estimate) for letter in letters),
        ]
        for group in found
    ]
    return table(head, rows)


def _pair(top: Top, first: str, second: str) -> str:
    sides = "".join(
        f'<div class="place {"right" if is_right else "wrong"}"><small><span class="letter">'
        f"{letter}</span>{value:.3f}, first: {'right' if is_right else 'not judged right'}</small>"
        f'<p dir="auto">{text(document, 600)}</p></div>'
        for letter, value, document, is_right in ((first, *top.first), (second, *top.second))
    )
    return (
        f'<div class="case"><h4 dir="auto">{text(top.text, 300)}</h4>'
        f'<small>{text(top.query)}</small><div class="sides">{sides}</div></div>'
    )
