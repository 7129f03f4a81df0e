"""Conversion of a reply's rows to one checked margin per document, in the server's order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from shared_core.errors import InvalidReplyError
from shared_core.scorers.remote.dialects.base import Row, Scale, number

# Where a probability is exactly 0 or 1, its margin is one that no other float64 probability has:
# log of half the smallest float64, and log of the odds beyond those of the largest below 1.
_LOWEST, _HIGHEST = -745.2, 37.5


def margin_of(probability: float) -> float:
    """Return log(p / (1 − p)), clamped where p is exactly 0 or 1.

    >>> margin_of(0.5), margin_of(0.0), margin_of(1.0)
    (0.0, -745.2, 37.5)
    """
    if probability <= 0.0:
        return _LOWEST
    if probability >= 1.0:
        return _HIGHEST
    return math.log(probability) - math.log1p(-probability)


def margins_of(rows: Sequence[Row], count: int, scale: Scale) -> list[float]:
    """Return one margin per document, in input order.

    Servers that sort by logit and report probabilities report ties that are none: many documents
    at exactly 1.0. Their order is kept by moving tied margins apart by the least that floats can.

    Raises:
        InvalidReplyError: There is not exactly one row per document, or a probability is none.
    """
    if len(rows) != count:
        raise InvalidReplyError(f"the reply has {len(rows)} scores for {count} documents")
    values: dict[int, float] = {}
    for row in rows:
        if not 0 <= row.index < count:
            raise InvalidReplyError(f"the reply has a score for document {row.index} of {count}")
        if row.index in values:
            raise InvalidReplyError(f"the reply has two scores for document {row.index}")
        value = number(row.value, "the score")  # the rows may be of a user's own dialect
        if scale == "probability" and not 0.0 <= value <= 1.0:
            raise InvalidReplyError(
                f"the score of document {row.index} is {value:g}, expected a probability in "
                "[0, 1]: the server seems to answer with logits. Its checkpoint may ask for no "
                "activation; see docs/troubleshooting.md"
            )
        values[row.index] = value
    margins = {
        index: margin_of(value) if scale == "probability" else value
        for index, value in values.items()
    }
    _part_ties([row.index for row in rows], margins)
    return [margins[index] for index in range(count)]


def _part_ties(order: Sequence[int], margins: dict[int, float]) -> None:
    """Lower all but the first of equal neighbours by one float each, if the rows are sorted."""
    if list(order) == sorted(order):  # input order says nothing, and ties keep it anyway
        return
    if any(margins[a] < margins[b] for a, b in pairwise(order)):
        return
    for better, index in pairwise(order):
        if margins[index] >= margins[better]:
            margins[index] = math.nextafter(margins[better], -math.inf)
