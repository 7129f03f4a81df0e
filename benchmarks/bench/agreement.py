"""Comparison of all contestants' scores, so that no fast but wrong answer is reported."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from benchmarks.bench.result import Agreement

# P(yes) of one document, by who computes it. On random weights of the true shape bfloat16 moved it
# by 0.03 between layouts of the same recipe.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.06, "float16": 0.03}
# Of margins over the documents. Another prompt shows here even where all P(yes) are close.
_LEAST_CORRELATION = 0.9
# With less spread than this there is nothing to correlate but noise.
_LEAST_SPREAD = {"float32": 1e-3, "bfloat16": 0.3, "float16": 0.1}
# Of eight bits, Kendall's tau, by whether the weights are trained: see docs/performance.md. Random
# layers pass every error on enlarged; there it only tells rounding from wrong products.
_LEAST_ORDER = {True: 0.9, False: 0.5}


def compare(
    calls: Sequence[Sequence[float]],
    reference: Sequence[float],
    documents: Sequence[int],
    *,
    dtype: str,
    lossy: bool,
    trained: bool,
    names: tuple[str, str, str],
) -> Agreement:
    """Return the distance of the scores of all calls from the reference's.

    Args:
        calls: Scores of all documents, query after query, of each call.
        reference: The reference's scores, in the same order.
        documents: The number of documents of each query.
        lossy: Whether the order is judged instead of the scores, see `is_lossy`.
        trained: Whether the weights are.
        names: The workload's, the contestant's, the reference's.
    """
    found = [differences(scores, reference, dtype) for scores in calls]
    correlations = [correlation for _, correlation, _ in found if correlation is not None]
    workload, contestant, against = names
    agreement = Agreement(
        workload=workload,
        contestant=contestant,
        reference=against,
        largest=max(largest for largest, _, _ in found),
        correlation=min(correlations, default=None),
        agrees=all(agrees for _, _, agrees in found),
    )
    if lossy:
        kept = [order_kept(scores, reference, documents, trained=trained) for scores in calls]
        agreement.order = min((tau for tau, _ in kept if tau is not None), default=None)
        agreement.agrees = None if agreement.order is None else all(agrees for _, agrees in kept)
    return agreement


def differences(
    scores: Sequence[float], reference: Sequence[float], dtype: str
) -> tuple[float, float | None, bool]:
    """Return the largest difference, the correlation of margins, and whether scores agree.

    >>> differences([0.5, 0.9], [0.5, 0.90001], "float32")[2]
    True
    >>> differences([0.9, 0.5], [0.5, 0.9], "bfloat16")
    (0.4, -1.0, False)
    """
    if len(scores) != len(reference) or not all(map(math.isfinite, scores)):
        return math.inf, None, False
    largest = max(abs(a - b) for a, b in zip(scores, reference, strict=True))
    correlation = _correlation([_margin(s) for s in scores], [_margin(s) for s in reference], dtype)
    agrees = largest <= _TOLERANCE[dtype]
    agrees &= correlation is None or correlation >= _LEAST_CORRELATION
    return round(largest, 9), correlation, agrees


def is_lossy(settings: Mapping[str, Any]) -> bool:
    """Return whether a contestant's settings are inexact: its order is judged, not its P(yes)."""
    return bool(settings.get("quantize"))


def order_kept(
    scores: Sequence[float], reference: Sequence[float], documents: Sequence[int], *, trained: bool
) -> tuple[float | None, bool | None]:
    """Return Kendall's tau of the order within each query, and whether it is high enough.

    Counted over the pairs of documents of one query that the reference tells apart; of so few that
    a single pair decides, one may change places.

    Args:
        trained: Whether the weights are; less is claimed of random ones.

    Returns:
        Two times ``None`` if there is no pair; 0 if scores are missing or no numbers.

    >>> order_kept([0.2, 0.6, 0.5], [0.1, 0.5, 0.9], [3], trained=True)
    (0.333333, True)
    >>> order_kept([0.2, 0.6, 0.5], [0.9, 0.5, 0.1], [3], trained=True)
    (-0.333333, False)
    """
    if len(scores) != len(reference) or not all(map(math.isfinite, scores)):
        return 0.0, False
    pairs = wrong = 0.0
    begin = 0
    for count in documents:
        end = begin + count
        for first, second in combinations(range(begin, end), 2):
            expected = reference[first] - reference[second]
            if expected:
                pairs += 1
                seen = (scores[first] - scores[second]) * math.copysign(1.0, expected)
                wrong += 0.0 if seen > 0 else 1.0 if seen < 0 else 0.5
        begin = end
    if not pairs:
        return None, None
    allowed = max(1.0, pairs * (1 - _LEAST_ORDER[trained]) / 2)
    return round(1 - 2 * wrong / pairs, 6), wrong <= allowed


def _margin(score: float) -> float:
    bounded = min(max(score, 1e-7), 1 - 1e-7)
    return math.log(bounded / (1 - bounded))


def _correlation(left: list[float], right: list[float], dtype: str) -> float | None:
    if len(left) < 2 or statistics.pstdev(right) < _LEAST_SPREAD[dtype]:
        return None
    if statistics.pstdev(left) == 0:
        return 0.0
    return round(statistics.correlation(left, right), 6)
