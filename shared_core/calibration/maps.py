"""`Calibration`: the fitted maps, as the file has them, and their application."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared_core.calibration.fitted_for import FittedFor
from shared_core.numbers import Number, Whole
from shared_core.ranking import sigmoid

Finite = Annotated[Number, Field(allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]

Weight = Annotated[Number, Field(ge=-1e6, le=1e6)]
"""Of a feature; larger ones are no fit, and with opposite signs their sum may be no number."""


class _Fitted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Platt(_Fitted):
    """A logistic curve: ``sigmoid(slope · margin + intercept)``."""

    method: Literal["platt"] = "platt"
    slope: Annotated[Finite, Field(ge=0.0)]
    intercept: Finite

    def of(self, margin: float) -> float:
        """Return the probability of a margin."""
        return sigmoid(self.slope * margin + self.intercept)


class Isotonic(_Fitted):
    """A rising line through points; level before the first and behind the last.

    Attributes:
        margins: Rising, of shape (points,).
        probabilities: Their probabilities, not falling, of the same shape.
    """

    method: Literal["isotonic"] = "isotonic"
    margins: Annotated[tuple[Finite, ...], Field(min_length=1)]
    probabilities: tuple[Share, ...]

    @model_validator(mode="after")
    def _check_order(self) -> Isotonic:
        xs, ys = self.margins, self.probabilities
        if len(xs) != len(ys):
            raise ValueError(f"{len(xs)} margins and {len(ys)} probabilities: expected as many")
        if any(b <= a for a, b in pairwise(xs)):
            raise ValueError("the margins do not rise")
        if any(b < a for a, b in pairwise(ys)):
            raise ValueError("the probabilities fall")
        return self

    def of(self, margin: float) -> float:
        """Return the probability of a margin."""
        place = bisect_right(self.margins, margin)
        if place in (0, len(self.margins)):
            return self.probabilities[max(0, place - 1)]
        (left, right), (low, high) = (
            self.margins[place - 1 : place + 1],
            self.probabilities[place - 1 : place + 1],
        )
        return low + (high - low) * (margin - left) / (right - left)


class NoAnswer(_Fitted):
    """The probability that no candidate is right, and from which value on to say so.

    It is ``sigmoid(intercept − best · b + mean · m + candidates · log(n))`` of ``n`` candidates
    with the best margin ``b`` and the mean margin ``m``. Margins are log odds, and so are those of
    a Platt calibration but for two constants, which these weights contain.

    Attributes:
        intercept, best, mean, candidates: The weights.
        keep: The share of answerable queries that the threshold keeps at least.
        threshold: Above it, nothing answers.
        queries: The number of queries that the threshold is from.
    """

    intercept: Weight
    best: Annotated[Weight, Field(ge=0.0)]
    mean: Weight
    candidates: Weight
    keep: Share
    threshold: Share
    queries: Annotated[Whole, Field(ge=0)]

    def of(self, margins: Sequence[float]) -> float:
        """Return the probability that none of some candidates is right; 1 if there are none."""
        if not margins:
            return 1.0
        best, mean, count = features_of(margins)
        weighted = self.mean * mean - self.best * best + self.candidates * count
        return sigmoid(self.intercept + weighted)


class Calibration(_Fitted):
    """What was fitted for one model with one instruction.

    Attributes:
        fitted_for: The model.
        instruction: The instruction.
        probability: The map from margins to probabilities.
        no_answer: The map from a query's probabilities to that of no answer; ``None`` where too few
            queries had a right candidate.
        fitted_on: The data, for people to read.
    """

    fitted_for: FittedFor
    instruction: str
    probability: Annotated[Platt | Isotonic, Field(discriminator="method")]
    no_answer: NoAnswer | None = None
    fitted_on: dict[str, Any] = Field(default_factory=dict)

    def probability_of(self, margin: float) -> float:
        """Return the probability that a document with this margin is right, in [0, 1]."""
        return self.probability.of(margin)

    def no_answer_of(self, margins: Sequence[float]) -> float | None:
        """Return the probability that no document is right; ``None`` if that was not fitted.

        Args:
            margins: Those of all distinct candidates of a query.
        """
        return None if self.no_answer is None else self.no_answer.of(margins)

    def answers(self, no_answer: float | None) -> bool | None:
        """Whether to take it that a candidate answers; ``None`` if that was not fitted."""
        if self.no_answer is None or no_answer is None:
            return None
        return no_answer <= self.no_answer.threshold


def features_of(margins: Sequence[float]) -> tuple[float, float, float]:
    """Return what tells whether one of some candidates is right: best, mean, logarithm of count.

    >>> features_of([1.0, 3.0, -4.0, 0.0])
    (3.0, 0.0, 1.3862943611198906)
    """
    return max(margins), math.fsum(margins) / len(margins), math.log(len(margins))
