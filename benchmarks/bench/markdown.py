"""Markdown tables of a run, and their insertion into a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench.result import Result
from benchmarks.bench.summary import Row, Spread, rows

_HEAD = [
    "who",
    "seconds (quartiles)",
    "p95",
    "prompt tokens/s",
    "documents/s",
    "MiB over weights",
    "of peak",
    "scores within",
]


def render(result: Result) -> str:
    """Return a run as Markdown: machine, versions, command, and a table per workload."""
    model = result.model
    everything = rows(result)
    parts = [
        f"**{model.name}**, {model.values} values, {model.dtype} on {model.device}; "
        f"{result.rounds} rounds, {result.made[:10]}.",
        f"{_machine(result)} {_versions(result)}",
        f"```\n{result.command}\n```",
    ]
    for facts in result.workloads:
        group = [row for row in everything if row.workload == facts.name]
        if group:
            parts += [f"`{facts.name}`: {facts.described}.", _table(group)]
    left_out = [
        f"- {facts.name}: {facts.status}: {facts.reason.splitlines()[0] if facts.reason else ''}"
        for facts in result.contestants
        if facts.status != "ran"
    ] + [f"- {reason}" for reason in result.skipped]
    if left_out:
        parts.append("Not measured:\n\n" + "\n".join(left_out))
    if result.overhead:
        parts.append("\n".join(overhead_lines(result, everything)))
    return "\n\n".join(parts) + "\n"


def put(page: Path, name: str, text: str) -> None:
    """Write text between a page's markers ``<!-- bench NAME -->`` and ``<!-- end -->``.

    Raises:
        ValueError: The page has no such markers.
    """
    old = page.read_text("utf-8")
    marked = re.compile(rf"(<!-- bench {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    new, count = marked.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", old)
    if not count:
        raise ValueError(
            f"{page} has no place for it: write <!-- bench {name} --> and <!-- end --> on lines of "
            "their own where the tables belong"
        )
    page.write_text(new, "utf-8")


def _machine(result: Result) -> str:
    facts = result.machine
    parts = [f"{facts.get('processor')}, {facts.get('cores')} cores, {facts.get('memory_gib')} GiB"]
    if "accelerator" in facts:
        parts.append(str(facts["accelerator"]))
    parts.append(f"matrix products at best {result.peak_flops / 1e9:,.0f} GFLOP/s")
    return "; ".join(parts) + "."


def _versions(result: Result) -> str:
    shown = dict(result.versions)
    for contestant in result.contestants:
        if "vllm" in contestant.versions:
            shown["vllm"] = contestant.versions["vllm"]
    return ", ".join(f"{name} {version}" for name, version in shown.items()) + "."


def _table(group: Sequence[Row]) -> str:
    ours = [row for row in group if not row.peer and "cache" not in row.variant]
    head = [*_HEAD, *(f"× {row.name}" for row in ours)]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for row in group:
        within = row.closeness
        cells = [
            row.label,
            f"{row.seconds.median:.3g} ({row.seconds.low:.3g}–{row.seconds.high:.3g})",
            f"{row.p95:.3g}",
            f"{row.prompt_tokens_per_second:,.0f}",
            f"{row.documents_per_second:,.1f}",
            f"{row.over_weights / 2**20:,.0f}",
            "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
            within if row.agrees in (True, None) else f"**{within}: differs**",
            *(_ratio(row.faster.get(contestant.name)) for contestant in ours),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(value: Spread | None) -> str:
    return "" if value is None else f"{value.median:.2f} ({value.low:.2f}–{value.high:.2f})"


def overhead_lines(result: Result, everything: Sequence[Row]) -> list[str]:
    """Return the times of everything outside the model, one line each."""
    lines = []
    seconds = {row.workload: row.seconds.median for row in everything if row.name == "ours"}
    for name, spent in result.overhead.get("tokenising", {}).items():
        if name in seconds:
            share = spent / seconds[name]
            lines.append(f"- Tokenising `{name}`: {1e3 * spent:.1f} ms, {share:.2%} of ours.")
    for name, spread in result.overhead.get("adapters", {}).items():
        lines.append(f"- {name} adapter: {spread['median']:.1f} µs a document over `Reranker`.")
    for name, figures in result.overhead.get("imports", {}).items():
        lines.append(
            f"- `{name}`: {figures['seconds']:.3f} s, {_ratio(Spread(**figures['ratio']))} × "
            f"`{figures['beside']}`, {figures['their_seconds']:.3f} s."
        )
    for name, figures in result.overhead.get("loading", {}).items():
        lines.append(
            f"- Loading, {name}: {figures['seconds']['median']:.2f} s, and "
            f"{figures['first_call']['median']:.2f} s for the first short call."
        )
    return lines
