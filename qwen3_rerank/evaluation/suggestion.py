"""Suggested ``top_k`` and ``score_threshold``, with their cost and gain.

Of the queries that may be lost, ``top_k`` may lose half: it is the smallest that keeps the others.
The threshold is the highest with which both together lose no more than may be lost. Both are chosen
on the data they are then measured on, which flatters them; so each half of the queries is also
measured with what the other half would choose.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context

from qwen3_rerank.evaluation.passages import Judged

KEEP = 0.95


@dataclass(frozen=True, slots=True)
class Cut:
    """The effect of a ``top_k`` and a threshold.

    Attributes:
        top_k: Passages kept per query at most.
        threshold: Passages below are dropped; ``None`` drops none.
        answered: Of the queries with a right passage among the candidates, the share that keeps
            one.
        recall: The share of all relevant candidates that is kept.
        passages: Kept per query, on average.
        dropped: The share of all candidates that is dropped.
        empty: The number of queries that keep nothing.
    """

    top_k: int
    threshold: float | None
    answered: float
    recall: float
    passages: float
    dropped: float
    empty: int


@dataclass(frozen=True)
class Suggestion:
    """The suggested settings.

    Attributes:
        keep: The share of answered queries that both together had to keep.
        top_k: The smallest that loses at most half of what may be lost.
        first_stage: The same ``top_k`` on the order of the first stage.
        both: The suggested ``top_k`` with the highest threshold that still keeps the share.
        unseen: The same two steps, chosen on one half of the queries and measured on the other,
            both ways together; its ``top_k`` and ``threshold`` are those of ``both``.
        table: Other values of ``top_k``.
    """

    keep: float
    top_k: Cut
    first_stage: Cut
    both: Cut
    unseen: Cut | None
    table: Sequence[Cut]


def suggest(
    after: Mapping[str, Judged], before: Mapping[str, Judged], keep: float = KEEP
) -> Suggestion | None:
    """Return a suggestion; ``None`` where no candidate is right.

    Args:
        after: Query id → candidates in the new order, with scores.
        before: The same in the order of the first stage.
        keep: The share of answered queries to keep, above 0, up to 1.
    """
    if not any(any(judged.right) for judged in after.values()):
        return None
    top_k, threshold = _choose(after, keep)
    most = max(len(judged.right) for judged in after.values())
    tried = sorted({k for k in (1, 2, 3, 5, 10, 20, 50, 100) if k < most} | {top_k, most})
    return Suggestion(
        keep,
        cut(after, top_k),
        cut(before, top_k),
        cut(after, top_k, threshold),
        _unseen(after, keep, top_k, threshold),
        [cut(after, k) for k in tried],
    )


def half_of(query: str) -> int:
    """Return 0 or 1, the half of the queries that this one is in, whatever the others are."""
    return hashlib.sha256(query.encode()).digest()[0] % 2


def cut(queries: Mapping[str, Judged], top_k: int, threshold: float | None = None) -> Cut:
    """Return the effect of a ``top_k`` and a threshold on rankings."""
    return _cut([(judged, top_k, threshold) for judged in queries.values()], top_k, threshold)


def _cut(
    queries: Sequence[tuple[Judged, int, float | None]], top_k: int, threshold: float | None
) -> Cut:
    """Return the effect where every query has a cut of its own."""
    kept = [_kept(*query) for query in queries]
    right_kept = [
        sum(judged.right[:count]) for (judged, *_), count in zip(queries, kept, strict=True)
    ]
    right_there = [sum(judged.right) for judged, *_ in queries]
    answerable = sum(count > 0 for count in right_there)
    candidates = sum(len(judged.right) for judged, *_ in queries)
    return Cut(
        top_k,
        threshold,
        sum(count > 0 for count in right_kept) / answerable if answerable else 0.0,
        sum(right_kept) / sum(right_there) if answerable else 0.0,
        sum(kept) / len(queries) if queries else 0.0,
        1.0 - sum(kept) / candidates if candidates else 0.0,
        sum(count == 0 for count in kept),
    )


def _kept(judged: Judged, top_k: int, threshold: float | None) -> int:
    """Return the number of documents that are kept: scores fall, so these are the first."""
    count = min(top_k, len(judged.scores))
    if threshold is None:
        return count
    return sum(score >= threshold for score in judged.scores[:count])


def _choose(queries: Mapping[str, Judged], keep: float) -> tuple[int, float]:
    """Return the smallest ``top_k`` and the highest threshold that together keep enough."""
    answered = [judged for judged in queries.values() if True in judged.right]
    ranks = sorted(judged.right.index(True) + 1 for judged in answered)
    top_k = ranks[_enough(len(ranks), (1 + keep) / 2) - 1]
    # The best right passage of a query is the last of its right ones to be dropped.
    best = [
        judged.scores[judged.right.index(True)]
        for judged in answered
        if True in judged.right[:top_k]
    ]
    return top_k, _shortened(sorted(best, reverse=True)[_enough(len(ranks), keep) - 1])


def _shortened(threshold: float) -> float:
    """Return a number of four digits that is not larger, to be shown and typed as it is.

    >>> _shortened(0.123456), _shortened(0.9), _shortened(0.00099999)
    (0.1234, 0.9, 0.0009999)
    """
    return float(Context(prec=4, rounding=ROUND_DOWN).create_decimal(repr(threshold)))


def _enough(count: int, keep: float) -> int:
    """Return the share ``keep`` of ``count``, at least one.

    >>> _enough(20, 0.95), _enough(10, 0.95), _enough(1, 0.5)
    (19, 10, 1)
    """
    return max(1, math.ceil(count * keep - 1e-9))


def _unseen(queries: Mapping[str, Judged], keep: float, top_k: int, threshold: float) -> Cut | None:
    halves: tuple[dict[str, Judged], dict[str, Judged]] = ({}, {})
    for query, judged in queries.items():
        halves[half_of(query)][query] = judged
    if not all(any(any(judged.right) for judged in half.values()) for half in halves):
        return None
    cuts = []
    for chosen_on, measured_on in (halves, halves[::-1]):
        k, least = _choose(chosen_on, keep)
        cuts += [(judged, k, least) for judged in measured_on.values()]
    return _cut(cuts, top_k, threshold)
