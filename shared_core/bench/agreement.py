"""Whether everybody scores alike: a fast wrong answer is not timed silently."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

# P(yes) of one document, by who computes it. On random weights of the true shape bfloat16 moved it
# by 0.03 between layouts of the same recipe.
_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.06, "float16": 0.03}
# Of margins over the documents. Another prompt shows here even where all P(yes) are close.
_LEAST_CORRELATION = 0.9
# With less spread than this there is nothing to correlate but noise.
_LEAST_SPREAD = {"float32": 1e-3, "bfloat16": 0.3, "float16": 0.1}


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


def _margin(score: float) -> float:
    bounded = min(max(score, 1e-7), 1 - 1e-7)
    return math.log(bounded / (1 - bounded))


def _correlation(left: list[float], right: list[float], dtype: str) -> float | None:
    if len(left) < 2 or statistics.pstdev(right) < _LEAST_SPREAD[dtype]:
        return None
    if statistics.pstdev(left) == 0:
        return 0.0
    return round(statistics.correlation(left, right), 6)
