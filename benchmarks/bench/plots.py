"""Plots of a run: throughput, cost by number of documents, and memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.bench.result import Result
from benchmarks.bench.summary import Row, rows

mpl.use("agg")

_OURS = ["#0b6e4f", "#3fa34d", "#8fc93a", "#2a9d8f", "#1d6f8a", "#57b8a5"]
_THEIRS = ["#b8b8b8", "#8a8a8a", "#5f5f5f", "#c9a66b"]
_WIDTH, _RESOLUTION = 9.0, 130


def draw(result: Result, folder: Path, stem: str) -> list[Path]:
    """Write the plots that the result has figures for, and return their paths."""
    everything = rows(result)
    if not everything:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    colours = _colours(everything)
    pictures = {
        "throughput": _bars(
            result,
            everything,
            colours,
            "prompt tokens per second",
            lambda row: (
                row.prompt_tokens_per_second,
                row.prompt_tokens_per_second * (1 - row.seconds.median / row.seconds.high),
                row.prompt_tokens_per_second * (row.seconds.median / row.seconds.low - 1),
            ),
        ),
        "memory": _bars(
            result,
            everything,
            colours,
            "peak memory over the weights, MiB",
            lambda row: (row.over_weights / 2**20, 0.0, 0.0),
        ),
    }
    by_count = _cost(result, everything, colours)
    if by_count is not None:
        pictures["documents"] = by_count
    paths = []
    for name, figure in pictures.items():
        paths.append(folder / f"{stem}-{name}.png")
        figure.savefig(paths[-1], dpi=_RESOLUTION, bbox_inches="tight")
    return paths


def _bars(
    result: Result, everything: Sequence[Row], colours: dict[str, str], label: str, value: Any
) -> Figure:
    """Return a plot of horizontal bars, one group per workload, with quartiles as whiskers."""
    groups = [[r for r in everything if r.workload == work.name] for work in result.workloads]
    groups = [group for group in groups if group]
    heights = [len(group) for group in groups]
    figure = Figure(figsize=(_WIDTH, 0.9 * len(groups) + 0.34 * sum(heights)))
    axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, group in zip(axes, groups, strict=True):
        figures = [value(row) for row in group]
        places = range(len(group))
        axis.barh(
            places,
            [middle for middle, _, _ in figures],
            xerr=[[low for _, low, _ in figures], [high for _, _, high in figures]],
            color=[colours[row.name] for row in group],
            error_kw={"elinewidth": 1, "ecolor": "#222222"},
        )
        axis.set_yticks(list(places), [_label(row) for row in group])
        axis.invert_yaxis()
        top = max(middle + high for middle, _, high in figures)
        for place, (middle, _, high) in zip(places, figures, strict=True):
            axis.text(
                max(0.0, middle + high) + 0.01 * top, place, f"{middle:,.0f}", va="center", size=8
            )
        axis.set_xlim(min(0.0, *(middle for middle, _, _ in figures)), top * 1.12)
        axis.set_title(_workload_title(result, group[0].workload), loc="left", size=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(label)
    figure.suptitle(_title(result), x=0.01, ha="left", size=9)
    figure.tight_layout()
    return figure


def _cost(result: Result, everything: Sequence[Row], colours: dict[str, str]) -> Figure | None:
    """Return seconds by number of documents, over workloads of one query; ``None`` if only one."""
    counts = {w.name: w.documents for w in result.workloads if w.name.startswith("rag-")}
    if len(counts) < 2:
        return None
    figure = Figure(figsize=(_WIDTH, 5.0))
    axis = figure.subplots()
    for name in dict.fromkeys(row.name for row in everything):
        line = sorted(
            (counts[row.workload], row.seconds)
            for row in everything
            if row.name == name and row.workload in counts
        )
        if not line:
            continue
        axis.errorbar(
            [count for count, _ in line],
            [spread.median for _, spread in line],
            yerr=[
                [spread.median - spread.low for _, spread in line],
                [spread.high - spread.median for _, spread in line],
            ],
            marker="o",
            markersize=4,
            label=name,
            color=colours[name],
        )
    axis.set(xscale="log", yscale="log", xlabel="documents of one query", ylabel="seconds")
    axis.set_xticks(sorted(set(counts.values())), [str(n) for n in sorted(set(counts.values()))])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(_title(result), loc="left", size=9)
    return figure


def _colours(everything: Sequence[Row]) -> dict[str, str]:
    """Return a colour per name: green for this library, grey for the others."""
    names = {row.name: row.peer for row in everything}
    ours = [name for name, peer in names.items() if not peer]
    theirs = [name for name, peer in names.items() if peer]
    return {name: _OURS[place % len(_OURS)] for place, name in enumerate(ours)} | {
        name: _THEIRS[place % len(_THEIRS)] for place, name in enumerate(theirs)
    }


def _label(row: Row) -> str:
    return row.label + ("" if row.agrees in (True, None) else "  (scores differ!)")


def _workload_title(result: Result, name: str) -> str:
    facts = next(workload for workload in result.workloads if workload.name == name)
    return f"{name}: {facts.described}"


def _title(result: Result) -> str:
    where = result.machine.get("accelerator") or result.machine.get("processor", "")
    return (
        f"{result.model.name}, {result.model.dtype}, {where}, {result.machine.get('cores')} cores"
    )
