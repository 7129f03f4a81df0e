"""Fits of probabilities to margins, and how reliable they are on queries that they have not seen.

- Platt, *Probabilistic Outputs for Support Vector Machines*, 1999: a logistic curve, with his
  targets, which keep it from certainty where passages are few.
- Isotonic regression (Zadrozny, Elkan, *Transforming Classifier Scores into Accurate Multiclass
  Probability Estimates*, KDD 2002): the rising steps that fit best, joined by lines. It needs more
  passages (Niculescu-Mizil, Caruana, *Predicting Good Probabilities*, ICML 2005).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from qwen3_rerank.evaluation.passages import Calibration as Reliability
from qwen3_rerank.evaluation.passages import Judged, calibration
from shared_core.calibration import Isotonic, Platt
from shared_core.ranking import sigmoid

FOLDS = 5
ISOTONIC_FROM = (1000, 200)
"""Passages, and right ones among them, from which isotonic regression is used."""
LEAST_RIGHT = 10
"""Right passages, and wrong ones, that a fit needs."""
_LEAST = 1e-9

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """The candidates of one query, in the order of the first stage.

    Attributes:
        margins: Of shape (candidates,).
        right: Whether each is judged relevant, of the same shape.
    """

    margins: Sequence[float]
    right: Sequence[bool]


@dataclass(frozen=True)
class Fit:
    """How well probabilities fit.

    Attributes:
        reliability: The share of right passages by probability, and the expected calibration error.
        brier: The mean squared distance from 1 of right passages, and from 0 of wrong ones.
        log_loss: The mean negative logarithm of the probability of what was the case.
    """

    reliability: Reliability
    brier: float
    log_loss: float


def fit(queries: Sequence[Candidates]) -> Platt | Isotonic:
    """Return the map from margins to probabilities that fits best.

    Args:
        queries: Candidates with judgements, `LEAST_RIGHT` of which are right at least, and wrong.
    """
    margins, right = pooled(queries)
    if len(right) >= ISOTONIC_FROM[0] and right.sum() >= ISOTONIC_FROM[1]:
        return isotonic(margins, right)
    return platt(margins, right)


def platt(margins: Floats, right: Bools) -> Platt:
    """Return the logistic curve; it never falls. Shapes (passages,)."""
    many, few = float(right.sum()), float((~right).sum())
    targets = np.where(right, (many + 1) / (many + 2), 1 / (few + 2))
    slope, intercept = logistic(margins[:, None], targets, [(0.0, None)])
    return Platt(slope=slope, intercept=intercept)


def logistic(
    features: Floats,
    targets: Floats,
    bounds: Sequence[tuple[float | None, float | None]],
    weights: Floats | None = None,
    ridge: float = 0.0,
) -> list[float]:
    """Return the weights of the features, and the intercept, by maximum likelihood.

    Args:
        features: Of shape (rows, features).
        targets: The probabilities to meet, of shape (rows,).
        bounds: Of each feature's weight.
        weights: Of each row, of shape (rows,).
        ridge: The penalty on the square of a weight of a standardised feature: without, weights
            have no bound where the features tell all targets apart.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0
    rows = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    each = np.ones(len(features)) if weights is None else weights

    def loss(x: Floats) -> tuple[float, Floats]:
        z = rows @ x
        slopes = np.append(x[:-1], 0.0)
        value = each @ (np.logaddexp(0.0, z) - targets * z) + ridge / 2 * (slopes @ slopes)
        return float(value), rows.T @ (each * (special.expit(z) - targets)) + ridge * slopes

    start = np.zeros(rows.shape[1])
    found = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[*bounds, (None, None)]
    ).x
    slopes = found[:-1] / scale
    return [*map(float, slopes), float(found[-1] - slopes @ mean)]


def isotonic(margins: Floats, right: Bools) -> Isotonic:
    """Return the rising line through the middles of the best steps. Shapes (passages,)."""
    order = np.argsort(margins, kind="stable")
    xs, first = np.unique(margins[order], return_index=True)
    counts = np.diff(np.append(first, len(margins)))
    shares = np.add.reduceat(right[order].astype(float), first) / counts
    steps = optimize.isotonic_regression(shares, weights=counts)
    edges = steps.blocks[:-1]
    totals = np.add.reduceat(counts, edges)
    middles = np.add.reduceat(xs * counts, edges) / totals
    # No step is certain: that of the fewest passages says how far.
    certain = 1 / (totals + 2)
    values = np.maximum.accumulate(np.clip(steps.x[edges], certain, 1 - certain))
    return Isotonic(margins=tuple(map(float, middles)), probabilities=tuple(map(float, values)))


def held_out(queries: Mapping[str, Candidates]) -> dict[str, Judged]:
    """Return the probabilities of every query by a fit on the queries of the other folds."""
    found: dict[str, Judged] = {}
    for fold in range(FOLDS):
        curve = fit([query for name, query in queries.items() if place_of(name, FOLDS) != fold])
        found |= {
            name: Judged([curve.of(margin) for margin in query.margins], query.right)
            for name, query in queries.items()
            if place_of(name, FOLDS) == fold
        }
    return found


def scores_of(queries: Mapping[str, Candidates]) -> dict[str, Judged]:
    """Return the scores of every query."""
    return {
        name: Judged([sigmoid(margin) for margin in query.margins], query.right)
        for name, query in queries.items()
    }


def fit_of(queries: Mapping[str, Judged]) -> Fit:
    """Return how well the probabilities of these queries fit."""
    values = np.asarray([value for query in queries.values() for value in query.scores])
    right = np.asarray([value for query in queries.values() for value in query.right], dtype=bool)
    likely = np.clip(np.where(right, values, 1 - values), _LEAST, 1)
    return Fit(
        calibration(queries), float(np.mean((values - right) ** 2)), float(-np.log(likely).mean())
    )


def pooled(queries: Sequence[Candidates]) -> tuple[Floats, Bools]:
    """Return the margins of all passages, and whether each is right. Shapes (passages,)."""
    margins = [margin for query in queries for margin in query.margins]
    right = [is_right for query in queries for is_right in query.right]
    return np.asarray(margins, dtype=np.float64), np.asarray(right, dtype=np.bool_)


def place_of(query: str, places: int) -> int:
    """Return the part of the queries that this one is in, whatever the others are."""
    return int.from_bytes(hashlib.sha256(f"part of {query}".encode()).digest()[:4], "big") % places
