"""Statistical significance: confidence intervals, a paired test, a correction for many tests.

- The interval of a mean is a percentile bootstrap over queries (Efron 1979).
- The test is a paired randomisation test, two-sided, on the mean difference: under its null
  hypothesis each query's two values could as well be exchanged (Smucker, Allan, Carterette, *A
  Comparison of Statistical Significance Tests for Information Retrieval Evaluation*, CIKM 2007).
- Several tests of one measure are corrected together by Holm's method (1979).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 9999
_VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two systems, paired by query: the second minus the first.

    Attributes:
        estimate: The mean of the differences, with its interval.
        p: The p-value of the randomisation test.
        better, worse: The number of queries that rose and fell; the others are equal.
    """

    estimate: Estimate
    p: float
    better: int
    worse: int


def estimate(values: Iterable[float], seed: int) -> Estimate:
    """Return the mean of per-query values with its 95 % bootstrap interval."""
    array = np.fromiter(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < 2 or np.ptp(array) == 0.0:
        return Estimate(mean, mean, mean)  # every resample is the same
    found = stats.bootstrap(
        (array,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_batch(len(array)),
        method="percentile",
        confidence_level=0.95,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high))


def difference(first: Iterable[float], second: Iterable[float], seed: int) -> Difference:
    """Return the difference of two systems; both hold the same queries in the same order.

    With few queries all sign changes are tried, else `RESAMPLES` of them drawn by ``seed``.
    """
    before, after = (np.fromiter(values, dtype=np.float64) for values in (first, second))
    change = after - before
    moved = change[change != 0.0]  # exchanging equal values changes nothing
    p = 1.0
    if len(moved) > 1:  # of one, both signs are as far from zero
        p = float(
            stats.permutation_test(
                (moved,),
                np.sum,
                permutation_type="samples",
                n_resamples=RESAMPLES,
                batch=_batch(len(moved)),
                rng=np.random.default_rng(seed),
            ).pvalue
        )
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    return Difference(estimate(change, seed), p, better, worse)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the same order.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def _batch(size: int) -> int:
    return max(1, _VALUES_AT_ONCE // size)
