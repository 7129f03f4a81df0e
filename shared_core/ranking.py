"""Ranking by margins: pure functions on Python floats.

A *margin* is ``logit(yes) − logit(no)``; a *score* is its sigmoid, P(yes). The order is always that
of the margins, because the sigmoid saturates: margins of 40 and 41 both have the score 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from shared_core.errors import ScoringError


def sigmoid(margin: float) -> float:
    """Return P(yes) = 1 / (1 + e^−margin), without overflow at either end.

    >>> sigmoid(0.0), sigmoid(-1000.0), sigmoid(1000.0)
    (0.5, 0.0, 1.0)
    """
    if margin >= 0:
        return 1.0 / (1.0 + math.exp(-margin))
    exponential = math.exp(margin)
    return exponential / (1.0 + exponential)


def check_margins(margins: Sequence[float], expected: int) -> None:
    """Raise unless there is one finite margin per document.

    Raises:
        ScoringError: On a wrong count, or on NaN and infinity.
    """
    if len(margins) != expected:
        raise ScoringError(f"the scorer returned {len(margins)} scores for {expected} documents")
    for index, margin in enumerate(margins):
        if not math.isfinite(margin):
            raise ScoringError(
                f"the scorer returned {margin!r} for document {index}: its model overflows in the "
                'dtype that it computes in (float16 most of all; dtype="float32" does not), or its '
                "weights are damaged"
            )


def rank(
    margins: Sequence[float],
    *,
    fused: Sequence[float] | None = None,
    stages: Sequence[int] | None = None,
    top_k: int | None = None,
    score_threshold: float | None = None,
    probabilities: Sequence[float] | None = None,
    min_probability: float | None = None,
    min_docs: int = 0,
) -> list[int]:
    """Return the positions of the documents to keep, best first; ties keep their input order.

    The thresholds are applied first (``score >= score_threshold``), then ``min_docs`` puts back the
    best of what they removed, then ``top_k`` cuts.

    Args:
        margins: One finite margin per document.
        fused: Values that the order follows instead, where they differ; the threshold does not.
        stages: The stage that judged each document: a later one comes first, whatever its margin.
        top_k: The most documents to keep; ``None`` keeps all.
        score_threshold: The least P(yes), in [0, 1]; ``None`` keeps all.
        probabilities: A calibrated probability per document.
        min_probability: The least of them, in [0, 1]; ``None`` keeps all.
        min_docs: The number to keep despite the thresholds, if there are so many.

    >>> rank([-1.0, 2.0, 2.0, 0.5], top_k=3)
    [1, 2, 3]
    >>> rank([-1.0, -2.0], score_threshold=0.5), rank([-1.0, -2.0], score_threshold=0.5, min_docs=1)
    ([], [0])
    >>> rank([3.0, -1.0, -2.0], stages=[1, 2, 2])
    [1, 2, 0]
    """
    order = sorted(range(len(margins)), key=lambda index: -margins[index])
    if fused is not None:
        order.sort(key=lambda index: -fused[index])
    if stages is not None:
        order.sort(key=lambda index: -stages[index])
    passing = set(order)
    if score_threshold is not None:
        passing = {index for index in order if sigmoid(margins[index]) >= score_threshold}
    if probabilities is not None and min_probability is not None:
        passing = {index for index in passing if probabilities[index] >= min_probability}
    if len(passing) < len(order):
        rest = [index for index in order if index not in passing]
        passing.update(rest[: max(0, min_docs - len(passing))])
        order = [index for index in order if index in passing]
    return order if top_k is None else order[:top_k]
