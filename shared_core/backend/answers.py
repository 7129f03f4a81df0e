"""Checking what a backend answered. Margins leave here as finite Python floats, or not at all."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice
from numbers import Real
from typing import Any

from shared_core.errors import ScoringError
from shared_core.ranking import check_margins
from shared_core.scoring import Scored, ScoreRequest


def scored_of(name: str, answer: Any, n_documents: int) -> list[Scored]:
    """Return the checked margins of a call of ``score``, one `Scored` per document.

    Args:
        name: The scorer's, for messages.
        answer: Anything. Lists, tuples, generators, arrays and tensors of one dimension will do.
        n_documents: The expected number of margins.

    Raises:
        ScoringError: The answer is not one finite number per document.
    """
    expected = f"expected {n_documents} numbers, one per document in input order"
    items = _listed(f"{name}.score", answer, n_documents, expected)
    margins = [
        _margin(f"{name}.score", item, f"document {index}") for index, item in enumerate(items)
    ]
    check_margins(margins, n_documents)
    return [Scored(margin) for margin in margins]


def checked_answers(
    name: str, answers: Any, requests: Sequence[ScoreRequest]
) -> list[list[Scored]]:
    """Return the checked answer of ``score_many`` or ``ascore_many``, margins as Python floats.

    Raises:
        ScoringError: The answer is not one `Scored` with a finite margin per document and request.
    """
    expected = f"expected {len(requests)} lists of Scored, one per query in input order"
    lists = _listed(f"{name}.score_many", answers, len(requests), expected)
    if len(lists) != len(requests):
        raise ScoringError(f"the scorer answered {len(lists)} of {len(requests)} queries")
    return [
        _checked(f"{name}.score_many", answer, len(request.documents))
        for answer, request in zip(lists, requests, strict=True)
    ]


def _checked(name: str, answer: Any, n_documents: int) -> list[Scored]:
    expected = f"expected {n_documents} Scored, one per document in input order"
    items = _listed(name, answer, n_documents, expected)
    checked = [
        _scored(name, item, f"document {index}", expected) for index, item in enumerate(items)
    ]
    check_margins([scored.logit for scored in checked], n_documents)
    return checked


def _scored(name: str, item: Any, place: str, expected: str) -> Scored:
    if not isinstance(item, Scored):
        raise ScoringError(f"{name} returned {_shown(item)} for {place}: {expected}")
    margin = _margin(name, item.logit, place)
    return item if type(item.logit) is float else replace(item, logit=margin)


def _listed(name: str, answer: Any, length: int, expected: str) -> list[Any]:
    """Return the items of an answer; of one without an end, one more than there should be."""
    if inspect.iscoroutine(answer):
        answer.close()
        raise ScoringError(
            f"{name} is a coroutine: {expected}. A scorer to await has ascore_many (AsyncScorer)"
        )
    is_text = isinstance(answer, (str, bytes, bytearray))
    if is_text or isinstance(answer, (Mapping, AbstractSet)) or not isinstance(answer, Iterable):
        raise ScoringError(f"{name} returned {_shown(answer)}: {expected}")
    try:
        return list(answer if isinstance(answer, Sized) else islice(answer, length + 1))
    except TypeError as error:  # an array or tensor without a dimension
        raise ScoringError(f"{name} returned {_shown(answer)}: {expected}") from error


def _margin(name: str, value: Any, place: str) -> float:
    if type(value) is float:
        return value
    number = value
    if not isinstance(number, Real) and getattr(number, "ndim", None) == 0:
        number = number.item()  # an element of an array or tensor
    if not isinstance(number, Real) or isinstance(number, bool):
        raise ScoringError(
            f"{name} returned {_shown(value)} for {place}: expected a number, the margin "
            "logit(yes) - logit(no)"
        )
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _shown(value: Any) -> str:
    """Describe a value for an error: its type, its shape or length, and never its texts."""
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(shape := getattr(value, "shape", None), tuple):
        return f"{kind} of shape {tuple(shape)}"
    try:
        return f"{kind} of length {len(value)}"
    except TypeError:
        return kind
