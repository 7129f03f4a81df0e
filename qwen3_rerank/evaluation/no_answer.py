"""Whether any candidate answers: fitted on queries with and without their right passages.

One half of the queries fits the probability, the other gives the threshold, by split conformal
prediction (Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005; Angelopoulos,
Bates, *A Gentle Introduction to Conformal Prediction*, 2021): of ``n`` answerable queries, it is
the ``⌈(n + 1) · keep⌉``-th smallest value. On exchangeable data, that of a new one is not above it
with a probability of ``keep`` at least, whatever the fit is worth.

How this works out is measured on a quarter of the queries, with the threshold of another quarter.
The number that is kept then follows a beta-binomial distribution, whose middle 95 % are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from qwen3_rerank.evaluation.calibrating import (
    LEAST_RIGHT,
    Candidates,
    logistic,
    place_of,
)
from shared_core.calibration import NoAnswer, features_of

LEVELS = (0.8, 0.9, 0.95)
_DEPTHS = (1, 2, 4)
"""Parts of the candidates that are lists of their own, to learn what their number does."""

Value = Callable[[Sequence[float]], float]


@dataclass(frozen=True, slots=True)
class Level:
    """A threshold, measured on queries that it is not from.

    Attributes:
        keep: The share of answerable queries that it was to keep.
        threshold: Above it, nothing answers; 1 if there were too few queries for this share.
        queries: The number of answerable queries that it was measured on.
        kept: The share of them that it kept.
        low, high: The bounds of that share: 95 % if the promise holds.
        noticed: The share of the same queries, without their right passages, that it noticed.
        by_best_score: The same by the best score alone, with a threshold made alike.
    """

    keep: float
    threshold: float
    queries: int
    kept: float
    low: float
    high: float
    noticed: float
    by_best_score: float


@dataclass(frozen=True)
class NoAnswerReport:
    """The fit, and what it does to queries that it has not seen.

    Attributes:
        fitted: What the file has.
        fitted_on: Queries that the probability was fitted on.
        told_apart: The probability that a query without its right passages has a higher value than
            one with them (area under the ROC curve), on the other half.
        told_apart_by_best_score: The same by the best score alone.
        levels: Thresholds for several shares.
    """

    fitted: NoAnswer
    fitted_on: int
    told_apart: float
    told_apart_by_best_score: float
    levels: Sequence[Level]


def fit_no_answer(queries: Mapping[str, Candidates], keep: float) -> NoAnswerReport | None:
    """Return the fit; ``None`` if there are too few queries with a right and a wrong candidate.

    Args:
        queries: Candidates with judgements, by query id.
        keep: The share of answerable queries to keep.
    """
    quarters: list[list[Candidates]] = [[], [], [], []]
    for name, query in queries.items():
        if any(query.right) and not all(query.right):
            quarters[place_of(name, 4)].append(query)
    fitting, first, second = [*quarters[0], *quarters[1]], quarters[2], quarters[3]
    if min(len(fitting), 2 * len(first), 2 * len(second)) < LEAST_RIGHT:
        return None
    fitted = _fitted(fitting)
    values = _values(fitted.of, [*first, *second])
    best = _values(_best_score, [*first, *second])
    threshold = conformal(values.kept, keep)
    return NoAnswerReport(
        fitted.model_copy(
            update={"keep": keep, "threshold": threshold, "queries": len(values.kept)}
        ),
        len(fitting),
        values.told_apart,
        best.told_apart,
        [_level(level, fitted.of, first, second) for level in sorted({*LEVELS, keep})],
    )


def conformal(values: Sequence[float], keep: float) -> float:
    """Return the threshold that a further value is not above with a probability of ``keep``.

    >>> conformal([0.1, 0.4, 0.2, 0.3], 0.8), conformal([0.1, 0.4, 0.2, 0.3], 0.81)
    (0.4, 1.0)
    """
    rank = math.ceil((len(values) + 1) * keep - 1e-9)
    return sorted(values)[rank - 1] if rank <= len(values) else 1.0


@dataclass(frozen=True)
class _Values:
    """The values of queries with all their candidates, and without the right ones."""

    kept: list[float]
    withheld: list[float]

    @property
    def told_apart(self) -> float:
        ranks = stats.rankdata([*self.withheld, *self.kept])[: len(self.withheld)]
        above = ranks.sum() - len(self.withheld) * (len(self.withheld) + 1) / 2
        return float(above / (len(self.withheld) * len(self.kept)))


def _values(value: Value, queries: Sequence[Candidates]) -> _Values:
    return _Values(
        [value(query.margins) for query in queries],
        [value(_wrong(query)) for query in queries],
    )


def _level(
    keep: float, value: Value, first: Sequence[Candidates], second: Sequence[Candidates]
) -> Level:
    from_, on = _values(value, first), _values(value, second)
    threshold = conformal(from_.kept, keep)
    n, m = len(from_.kept), len(on.kept)
    rank = math.ceil((n + 1) * keep - 1e-9)
    bounds = (
        stats.betabinom.ppf([0.025, 0.975], m, rank, n + 1 - rank) / m if rank <= n else (1.0, 1.0)
    )
    best_from, best_on = _values(_best_score, first), _values(_best_score, second)
    best = conformal(best_from.kept, keep)
    return Level(
        keep,
        threshold,
        m,
        float(np.mean([value <= threshold for value in on.kept])),
        float(bounds[0]),
        float(bounds[1]),
        float(np.mean([value > threshold for value in on.withheld])),
        float(np.mean([value > best for value in best_on.withheld])),
    )


def _best_score(margins: Sequence[float]) -> float:
    """Return a value from 0 to 1 that falls with the best margin."""
    return 0.5 - math.atan(max(margins)) / math.pi


def _wrong(query: Candidates) -> list[float]:
    return [
        margin for margin, is_right in zip(query.margins, query.right, strict=True) if not is_right
    ]


def _fitted(queries: Sequence[Candidates]) -> NoAnswer:
    """Return the weights, with a threshold that keeps everything."""
    rows, targets, weights = [], [], []
    for query in queries:
        lists = [found for parts in _DEPTHS if (found := _with_and_without(query, parts))]
        for both in lists:
            for is_without, margins in enumerate(both):
                best, mean, count = features_of(margins)
                rows.append([-best, mean, count])
                targets.append(float(is_without))
                weights.append(1 / len(lists))
    best, mean, candidates, intercept = logistic(
        np.asarray(rows),
        np.asarray(targets),
        [(0.0, None), (None, None), (None, None)],
        np.asarray(weights),
        ridge=1.0,
    )
    return NoAnswer(
        intercept=intercept,
        best=best,
        mean=mean,
        candidates=candidates,
        keep=1.0,
        threshold=1.0,
        queries=0,
    )


def _with_and_without(query: Candidates, parts: int) -> tuple[list[float], list[float]] | None:
    """Return the first candidates with the right ones and without, as many of both if possible.

    The first list loses as many of its last wrong ones: their number would tell them apart.
    """
    depth = len(query.margins) // parts
    margins, right = query.margins[:depth], query.right[:depth]
    wrong = _wrong(Candidates(margins, right))
    n_right = sum(right)
    if not n_right or not wrong:
        return None
    left_out = max(0, len(wrong) - n_right)
    with_right = [margin for margin, is_right in zip(margins, right, strict=True) if is_right]
    return [*with_right, *wrong[:left_out]], wrong
