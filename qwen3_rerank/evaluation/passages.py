"""Scores of right and of wrong passages, over all candidates of all queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Judged:
    """The candidates of one query in their new order.

    Attributes:
        scores: P(yes), best first.
        right: Whether each is judged relevant; unjudged ones count as wrong.
    """

    scores: Sequence[float]
    right: Sequence[bool]


@dataclass(frozen=True, slots=True)
class BestF1:
    """The threshold that separates right from wrong passages best.

    Attributes:
        threshold: Passages with this score or a higher one are taken for right.
        f1, precision, recall: At that threshold, over all candidates of all queries.
    """

    threshold: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Bin:
    """The passages with scores from ``low`` up to ``high``.

    Attributes:
        low, high: The bounds; ``high`` itself belongs to the next one, 1 to the last.
        count: The number of passages.
        mean_score: The mean of their scores.
        share_right: The share of them that is relevant.
    """

    low: float
    high: float
    count: int
    mean_score: float
    share_right: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of scores as probabilities.

    Attributes:
        bins: Ten of equal width; those without a passage are left out.
        error: The expected calibration error: the mean distance between score and share, weighted
            by count.
    """

    bins: Sequence[Bin]
    error: float


def judged(
    order: Mapping[str, Sequence[tuple[str, float]]], relevant: Mapping[str, Mapping[str, int]]
) -> dict[str, Judged]:
    """Return query id → `Judged` of rankings given as document ids with scores."""
    return {
        query: Judged(
            [score for _, score in ranked],
            [relevant[query].get(document, 0) > 0 for document, _ in ranked],
        )
        for query, ranked in order.items()
    }


def pooled(queries: Mapping[str, Judged]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the scores of all passages, and whether each is right. Shapes (passages,)."""
    scores = [score for judged in queries.values() for score in judged.scores]
    right = [is_right for judged in queries.values() for is_right in judged.right]
    return np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.bool_)


def best_f1(queries: Mapping[str, Judged]) -> BestF1 | None:
    """Return the threshold of the highest F1, of equals the highest; ``None`` if none is right."""
    scores, right = pooled(queries)
    if not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    found = np.cumsum(right)
    taken = np.arange(1, len(scores) + 1)
    f1 = 2 * found / (taken + right.sum())
    # A threshold takes all passages of one score, or none.
    f1[np.flatnonzero(scores[:-1] == scores[1:])] = -1.0
    best = int(np.argmax(f1))
    return BestF1(
        float(scores[best]),
        float(f1[best]),
        float(found[best] / taken[best]),
        float(found[best] / right.sum()),
    )


def calibration(queries: Mapping[str, Judged]) -> Calibration:
    """Return the share of relevant passages in every range of scores."""
    scores, right = pooled(queries)
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = []
    for place in range(BINS):
        inside = places == place
        if inside.any():
            bins.append(
                Bin(
                    place / BINS,
                    (place + 1) / BINS,
                    int(inside.sum()),
                    float(scores[inside].mean()),
                    float(right[inside].mean()),
                )
            )
    weighted = sum(bucket.count * abs(bucket.mean_score - bucket.share_right) for bucket in bins)
    return Calibration(bins, float(weighted / len(scores)) if len(scores) else 0.0)
