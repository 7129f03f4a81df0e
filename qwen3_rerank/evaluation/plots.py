"""Plots of a report, as SVG. The same figures always give the same bytes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from qwen3_rerank.evaluation.findings import Findings, SystemReport
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.passages import Calibration, Judged

# Inches: at the width of a phone the letters are still to be read, at that of two columns not huge.
_SIZE = (4.6, 3.1)
_GREY, _BLUE, _ORANGE, _GREEN = "#8a8f98", "#2563eb", "#d97706", "#15803d"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "qwen3-rerank",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": "#9aa1ab",
    "axes.labelcolor": "#30363d",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "lines.linewidth": 1.6,
}
_SCORE_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_WIDEST = 16.0  # margins beyond are drawn here
_HISTOGRAM_BINS = 40


def change(report: Findings, system: SystemReport) -> str:
    """Return the plot of every query's gain or loss, in order."""
    name = report.measures[0]
    before, after = report.before[name], system.values[name]
    moves = np.sort(np.array([after[query] - before[query] for query in before]))[::-1]
    better, worse = int((moves > 0).sum()), int((moves < 0).sum())

    def draw(axes: Any) -> None:
        places = np.arange(1, len(moves) + 1)
        for sign, color in ((1, _GREEN), (-1, _ORANGE)):
            axes.bar(places, np.where(moves * sign > 0, moves, 0.0), 1.0, color=color, linewidth=0)
        axes.axhline(0, color="#57606a", linewidth=0.8)
        axes.set_xlim(0.5, len(moves) + 0.5)
        reach = max(0.1, float(np.abs(moves).max()) * 1.05)
        axes.set_ylim(-reach, reach)
        axes.set_xlabel("queries, from most gained to most lost")
        axes.set_ylabel(f"change in {shown(name)}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        equal = len(moves) - better - worse
        axes.set_title(f"{better} gained, {equal} unchanged, {worse} lost")

    return _svg(draw)


def distributions(system: SystemReport) -> str:
    """Return the scores of right and of wrong passages, each as shares of their own kind."""
    right, wrong = _margins(system, right=True), _margins(system, right=False)
    both = np.concatenate([right, wrong])
    low, high = _bounds(both)
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)

    def draw(axes: Any) -> None:
        for margins, color, label in (
            (wrong, _ORANGE, f"wrong ({len(wrong):,})"),
            (right, _BLUE, f"right ({len(right):,})"),
        ):
            if len(margins):
                axes.hist(
                    np.clip(margins, low, high),
                    edges,
                    weights=np.full(len(margins), 100.0 / len(margins)),
                    color=color,
                    alpha=0.55,
                    label=label,
                )
        if system.best_f1 is not None:
            place = _margin(system.best_f1.threshold)
            axes.axvline(place, color="#111827", linestyle="--", linewidth=1.1)
            is_left = place > (low + high) / 2
            axes.annotate(
                f"F1 {system.best_f1.f1:.2f}\nat {system.best_f1.threshold:.3g}",
                (place, 0.97),
                (-4 if is_left else 4, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="right" if is_left else "left",
                va="top",
                fontsize=8.5,
            )
        ticks = [tick for tick in _SCORE_TICKS if low <= _margin(tick) <= high]
        axes.set_xticks([_margin(tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
        axes.tick_params(axis="x", labelrotation=30)
        axes.set_xlabel("score (spaced by margin)")
        axes.set_ylabel("% of the passages of a kind")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)

    return _svg(draw)


def calibration(system: SystemReport) -> str:
    """Return the plot of the share of relevant passages by score."""

    def draw(axes: Any) -> None:
        bins = system.calibration.bins
        _diagonal(axes)
        xs, ys = [bucket.mean_score for bucket in bins], [bucket.share_right for bucket in bins]
        axes.plot(xs, ys, color=_BLUE, marker="o", markersize=4)
        for bucket in bins:
            axes.annotate(
                _count(bucket.count),
                (bucket.mean_score, bucket.share_right),
                (0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color="#57606a",
            )
        axes.set_ylim(-0.03, 1.1)
        axes.set_xlabel("mean score (numbers: passages)")
        axes.set_title(f"expected calibration error {system.calibration.error:.3f}")

    return _svg(draw)


def reliability(before: Calibration, after: Calibration) -> str:
    """Return the plot of the share of right passages by score and by probability."""

    def draw(axes: Any) -> None:
        _diagonal(axes)
        most = max(bucket.count for bucket in (*before.bins, *after.bins))
        for found, color, label in ((before, _ORANGE, "score"), (after, _BLUE, "probability")):
            xs = [bucket.mean_score for bucket in found.bins]
            ys = [bucket.share_right for bucket in found.bins]
            sizes = [6 + 90 * bucket.count / most for bucket in found.bins]
            named = f"{label}, error {found.error:.3f}"
            axes.plot(xs, ys, color=color, marker="o", markersize=2, label=named)
            axes.scatter(xs, ys, sizes, color=color)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("mean score or probability")
        axes.legend(loc="upper left")

    return _svg(draw)


def by_depth(report: Findings, system: SystemReport) -> str:
    """Return the plot of the main measure by the number of candidates that are reranked."""
    places = [depth.depth for depth in system.depths]
    figures = [depth.figure for depth in system.depths]
    before = report.before_figures[report.measures[0]].mean

    def draw(axes: Any) -> None:
        axes.fill_between(
            places,
            [figure.low for figure in figures],
            [figure.high for figure in figures],
            color=_BLUE,
            alpha=0.15,
            linewidth=0,
        )
        axes.plot(
            places,
            [figure.mean for figure in figures],
            color=_BLUE,
            marker="o",
            markersize=4,
            label=f"reranked by {system.letter}",
        )
        axes.axhline(before, color=_GREY, linestyle="--", label="first stage")
        axes.set_xscale("log")
        axes.set_xticks(places, [str(place) for place in places])
        axes.minorticks_off()
        axes.set_xlabel("candidates reranked")
        axes.set_ylabel(shown(report.measures[0]))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)

    return _svg(draw)


def by_top_k(system: SystemReport, before: dict[str, Judged]) -> str:
    """Return the plot of queries with a relevant passage among the first k, before and after."""
    curves = [
        ("first stage", before, _GREY, "--"),
        (f"reranked by {system.letter}", system.judged, _BLUE, "-"),
    ]
    most = max((len(judged.right) for judged in system.judged.values()), default=1)

    def draw(axes: Any) -> None:
        for label, queries, color, line in curves:
            ranks = [
                judged.right.index(True) + 1 for judged in queries.values() if True in judged.right
            ]
            answered = [sum(rank <= k for rank in ranks) for k in range(1, most + 1)]
            shares = [count / len(ranks) if ranks else 0.0 for count in answered]
            axes.plot(range(1, most + 1), shares, line, color=color, label=label)
        if system.suggestion is not None:
            axes.axvline(system.suggestion.top_k.top_k, color=_GREEN, linewidth=1, linestyle=":")
        axes.set_xscale("log")
        ticks = [k for k in (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= most]
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.set_xlabel("top_k")
        axes.set_ylabel("share that keep a right passage")
        axes.legend(loc="lower right")

    return _svg(draw)


def _diagonal(axes: Any) -> None:
    """Draw where scores and shares are equal."""
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", linewidth=1.2)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylabel("share that is right")


def _margins(system: SystemReport, *, right: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = [
        margin
        for query, ranked in system.order.items()
        for (_, margin), is_right in zip(ranked, system.judged[query].right, strict=True)
        if is_right is right
    ]
    return np.asarray(found, dtype=np.float64)


def _bounds(margins: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    if not len(margins):
        return -5.0, 5.0
    low, high = np.clip([margins.min(), margins.max()], -_WIDEST, _WIDEST)
    return float(low) - 0.25, float(high) + 0.25


def _margin(score: float) -> float:
    score = min(max(score, 1e-12), 1 - 1e-12)
    return math.log(score / (1 - score))


def _count(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _svg(draw: Callable[[Any], None], size: Sequence[float] = _SIZE) -> str:
    """Return a drawing as the address of an image that is whole in itself."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(size[0], size[1]), layout="constrained")
        draw(figure.subplots())
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
