"""Statistics of a run: medians with quartiles, rates, and ratios paired by round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from benchmarks.bench.agreement import is_lossy
from benchmarks.bench.result import ContestantFacts, Result, Sample, WorkloadFacts


class Spread(BaseModel):
    """A median and its quartiles."""

    median: float
    low: float
    high: float


class Row(BaseModel):
    """One contestant on one workload, with its best variant.

    Attributes:
        name: The contestant, with the cache's state where it has one.
        peer: Whether it is an alternative, not this library.
        calls: Samples that the figures are made of.
        p50, p95: Seconds of one call. With few calls p95 is close to the slowest.
        over_weights: Bytes at the peak, less the process before loading, less the weights.
        share_of_peak: Matrix products that the workload needs (common prefixes once), at the
            measured peak, as a share of the time.
        agrees: Whether the scores are right; ``None`` if unknown.
        lossy: Whether it was asked to be inexact; then ``order``, Kendall's tau, is what counts.
    """

    workload: str
    name: str
    contestant: str
    peer: bool
    variant: dict[str, Any]
    calls: int
    seconds: Spread
    p50: float
    p95: float
    prompt_tokens_per_second: float
    unique_tokens_per_second: float
    documents_per_second: float
    over_weights: int
    share_of_peak: float | None
    agrees: bool | None
    largest_difference: float | None
    lossy: bool = False
    order: float | None = None
    faster: dict[str, Spread] = {}

    @property
    def label(self) -> str:
        """The name with the batch size that was the best one."""
        return f"{self.name}, batch {batch}" if (batch := self.variant.get("batch")) else self.name

    @property
    def closeness(self) -> str:
        """Return the order's tau of an inexact contestant, else the largest difference of scores.

        Results of before tau was taken lack it.
        """
        if self.lossy and self.order is not None:
            return f"τ {self.order:.2f}"
        if self.largest_difference is None:
            return ""
        return f"{self.largest_difference:.1g}" + (", no τ" if self.lossy else "")


def rows(result: Result) -> list[Row]:
    """Return one row per workload and contestant, or per state of its cache.

    A peer's ``batch`` is the one with the least median, of those that were tried in all rounds.
    ``faster`` gives, for each of ours, how many times as long the row's contestant took, from the
    calls of the same rounds.
    """
    found = []
    for workload in result.workloads:
        group = [
            row
            for contestant in result.contestants
            for row in _rows_of(result, workload, contestant)
        ]
        for row in group:
            row.faster = {
                ours.name: _ratio(result, row, ours)
                for ours in group
                if not ours.peer and ours.name != row.name
            }
        found += group
    return found


def _rows_of(result: Result, workload: WorkloadFacts, contestant: ContestantFacts) -> list[Row]:
    samples = [
        sample
        for sample in result.samples
        if (sample.workload, sample.contestant) == (workload.name, contestant.name)
    ]
    by_name: dict[str, dict[str, list[Sample]]] = {}
    for sample in samples:
        cache = sample.variant.get("cache")
        name = f"{contestant.name}, {cache} cache" if cache else contestant.name
        by_name.setdefault(name, {}).setdefault(str(sample.variant), []).append(sample)
    found = []
    for name, variants in by_name.items():
        most = max(map(len, variants.values()))
        tried = [some for some in variants.values() if len(some) == most]
        best = min(tried, key=lambda some: statistics.median([sample.seconds for sample in some]))
        found.append(_row(result, workload, contestant, name, best))
    return found


def _row(
    result: Result,
    workload: WorkloadFacts,
    contestant: ContestantFacts,
    name: str,
    samples: Sequence[Sample],
) -> Row:
    seconds = [sample.seconds for sample in samples]
    middle = statistics.median(seconds)
    peak = max(sample.peak_bytes for sample in samples)
    base = 0 if result.model.device != "cpu" else contestant.base_bytes or 0
    agreement = next(
        (
            agreement
            for agreement in result.agreements
            if (agreement.workload, agreement.contestant) == (workload.name, contestant.name)
        ),
        None,
    )
    lossy = is_lossy(contestant.settings)
    judged = agreement is not None and not (lossy and agreement.order is None)
    share = workload.product_flops / result.peak_flops / middle if result.peak_flops else None
    return Row(
        workload=workload.name,
        name=name,
        contestant=contestant.name,
        peer=not contestant.ours,
        variant=samples[0].variant,
        calls=len(samples),
        seconds=spread(seconds),
        p50=percentile(seconds, 0.5),
        p95=percentile(seconds, 0.95),
        prompt_tokens_per_second=workload.prompt_tokens / middle,
        unique_tokens_per_second=workload.unique_tokens / middle,
        documents_per_second=workload.documents / middle,
        over_weights=peak - base - result.model.weight_bytes,
        share_of_peak=share,
        agrees=agreement.agrees if agreement and judged else None,
        largest_difference=agreement.largest if agreement else None,
        lossy=lossy,
        order=agreement.order if agreement else None,
    )


def _ratio(result: Result, row: Row, ours: Row) -> Spread:
    """Return the calls that one of ours finishes per call of the row's contestant."""
    theirs, mine = _by_round(result, row), _by_round(result, ours)
    paired = [theirs[number] / mine[number] for number in sorted(set(theirs) & set(mine))]
    return spread(paired or [row.seconds.median / ours.seconds.median])


def _by_round(result: Result, row: Row) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for sample in result.samples:
        if (sample.workload, sample.contestant, sample.variant) == (
            row.workload,
            row.contestant,
            row.variant,
        ):
            found.setdefault(sample.round, []).append(sample.seconds)
    return {number: statistics.median(values) for number, values in found.items()}


def spread(values: Sequence[float]) -> Spread:
    """Return the median with its quartiles, which of few values lie between neighbours.

    >>> spread([1.0, 2.0, 3.0])
    Spread(median=2.0, low=1.5, high=2.5)
    """
    return Spread(
        median=statistics.median(values),
        low=percentile(values, 0.25),
        high=percentile(values, 0.75),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile, interpolated linearly between neighbours.

    >>> percentile([1.0, 2.0], 0.95)
    1.95
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
