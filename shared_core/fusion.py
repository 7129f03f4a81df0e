"""Fusion of the retriever's scores with the reranker's margins: pure functions on Python floats.

Two ways, both by query:

- Reciprocal rank fusion: ``1 / (60 + rank by the reranker) + 1 / (60 + rank by the retriever)``, of
  Cormack, Clarke, Büttcher, *Reciprocal Rank Fusion outperforms Condorcet and individual Rank
  Learning Methods*, SIGIR 2009, whose constant 60 LangChain's ``EnsembleRetriever`` has, too.
- A weighted sum: ``(1 − weight) · z(margin) + weight · z(retriever's score)``, where ``z`` takes
  off the mean and divides by the standard deviation over the query's documents. Margins, not
  probabilities: those lie close to 0 and 1, where their differences vanish.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, SupportsFloat

RRF = 60
"""The constant of reciprocal rank fusion, as published."""

Fusion = Literal["rrf"] | float
"""How the two are put together: by ranks, or by a weight of the retriever from 0 to 1."""


Scores = Iterable[SupportsFloat | None]
"""The scores of a retriever, one per document: larger is better, ``None`` where there is none."""


def fuse(
    margins: Sequence[float], retriever: Sequence[float | None], fusion: Fusion
) -> list[float]:
    """Return one fused value per document, larger is better; equal ones get equal values.

    Args:
        margins: The reranker's margins, finite, of shape (documents,).
        retriever: The retriever's scores, as `checked_scores` returns them. A document that has
            none counts like the one with the lowest; if none has one, their order counts.
        fusion: ``"rrf"``, or the weight of the retriever in [0, 1].

    >>> [round(value, 4) for value in fuse([3.0, 1.0, 2.0], [7.0, 9.0, None], "rrf")]
    [0.0325, 0.0323, 0.0323]
    >>> [round(value, 4) for value in fuse([3.0, 1.0], [0.7, 0.9], 0.25)]
    [0.5, -0.5]
    """
    known = [score for score in retriever if score is not None]
    if known:
        lowest = min(known)
        scores = [lowest if score is None else score for score in retriever]
    else:
        scores = [-float(place) for place in range(len(margins))]
    if isinstance(fusion, str):
        pairs = zip(_ranks(margins), _ranks(scores), strict=True)
        return [1 / (RRF + first) + 1 / (RRF + second) for first, second in pairs]
    return [
        (1 - fusion) * margin + fusion * score
        for margin, score in zip(_standardised(margins), _standardised(scores), strict=True)
    ]


def fuse_by_stage(
    margins: Sequence[float],
    retriever: Sequence[float | None],
    fusion: Fusion,
    stages: Sequence[int],
) -> list[float]:
    """Return what `fuse` returns for the documents of each stage among themselves."""
    fused = [0.0] * len(margins)
    for stage in set(stages):
        places = [place for place, of in enumerate(stages) if of == stage]
        values = fuse(
            [margins[place] for place in places], [retriever[place] for place in places], fusion
        )
        for place, value in zip(places, values, strict=True):
            fused[place] = value
    return fused


def checked_scores(scores: Scores, count: int) -> list[float | None]:
    """Return the scores of a retriever as plain floats.

    Args:
        scores: A number per document, larger is better; ``None`` where there is none.
        count: The number of documents.

    Raises:
        TypeError: Something is no number.
        ValueError: There are more or fewer than documents, or one is NaN or infinite.
    """
    if isinstance(scores, (str, bytes)) or not isinstance(scores, Iterable):
        raise TypeError(f"retriever_scores must be a list of numbers, got {type(scores).__name__}")
    found: list[float | None] = []
    for place, score in enumerate(scores):
        if score is not None and (isinstance(score, bool) or not isinstance(score, SupportsFloat)):
            raise TypeError(
                f"the retriever's score of document {place} is {score!r:.60}: expected a number, "
                "or None where there is none"
            )
        value = None if score is None else float(score)
        if value is not None and not math.isfinite(value):
            raise ValueError(
                f"the retriever's score of document {place} is {value}: expected a finite number, "
                "or None where there is none"
            )
        found.append(value)
    if len(found) != count:
        raise ValueError(f"got {len(found)} retriever_scores for {count} documents")
    return found


def _ranks(values: Sequence[float]) -> list[int]:
    """Return ranks from 1, the largest value first; equal values share the best of their ranks."""
    first: dict[float, int] = {}
    for place, value in enumerate(sorted(values, reverse=True), start=1):
        first.setdefault(value, place)
    return [first[value] for value in values]


def _standardised(values: Sequence[float]) -> list[float]:
    """Return values with mean 0 and standard deviation 1; zeros where all are equal.

    They are divided by the largest first, so that no square overflows or vanishes.
    """
    largest = max(map(abs, values), default=0.0) or 1.0
    scaled = [value / largest for value in values]
    if not scaled or min(scaled) == max(scaled):
        return [0.0] * len(scaled)
    mean = math.fsum(scaled) / len(scaled)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in scaled) / len(scaled))
    return [(value - mean) / deviation for value in scaled]
