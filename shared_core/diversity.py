"""Diversity: maximal marginal relevance, by embeddings or by the words that documents share.

Carbonell, Goldstein, *The Use of MMR, Diversity-Based Reranking for Reordering Documents and
Producing Summaries*, SIGIR 1998: the next document is the one with the highest
``weight · relevance − (1 − weight) · similarity``, where the similarity is that to the most similar
of the documents chosen before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import mul

from shared_core.terms import terms

Similarity = Callable[[int, int], float]
"""The similarity of two documents, by their places: a cosine, 1 for equal documents."""


Embeddings = Iterable[Iterable[float]]
"""Embeddings, one per document, of shape (documents, dimensions)."""


def diversified(
    order: Sequence[int],
    relevance: Sequence[float],
    similarity: Similarity,
    *,
    weight: float,
    top_k: int | None,
    stages: Sequence[int] | None = None,
) -> list[int]:
    """Return the places of an order anew, by maximal marginal relevance; ties keep their order.

    Args:
        order: Places of documents, best first.
        relevance: The relevance of each document, from 0 to 1.
        similarity: The similarity of two documents, by their indexes.
        weight: 1 looks at relevance alone, 0 at diversity alone.
        top_k: The most to return; ``None`` returns all.
        stages: The stage that judged each document, by its index: a later one comes first.
    """
    stages = stages or [0] * len(relevance)
    left = list(order)
    nearest = dict.fromkeys(left, 0.0)
    chosen: list[int] = []
    while left and (top_k is None or len(chosen) < top_k):
        best = max(
            left, key=lambda at: (stages[at], weight * relevance[at] - (1 - weight) * nearest[at])
        )
        left.remove(best)
        for place in left:
            found = similarity(place, best)
            nearest[place] = max(nearest[place], found) if chosen else found
        chosen.append(best)
    return chosen


def distinct(count: int, similarity: Similarity, *, least: float) -> list[int]:
    """Return the places of documents that are not nearly the same as a kept one before them.

    Args:
        count: The number of documents.
        similarity: The similarity of two documents, by their places.
        least: The least of two that are nearly the same.
    """
    kept: list[int] = []
    for place in range(count):
        # Rounding leaves equal vectors a little below 1.
        if all(similarity(other, place) < least - 1e-9 for other in kept):
            kept.append(place)
    return kept


def by_words(texts: Sequence[str]) -> Similarity:
    """Return the cosine of two texts' sets of `terms`, which knows scripts without spaces.

    >>> by_words(["a red fox", "a red dog", "茶叶"])(0, 1)
    0.6666666666666666
    """
    found = [frozenset(terms(text)) for text in texts]

    def similarity(first: int, second: int) -> float:
        one, other = found[first], found[second]
        # One root of the product: that of each, multiplied, is off 1 for equal sets.
        return len(one & other) / math.sqrt(len(one) * len(other)) if one and other else 0.0

    return similarity


def by_embeddings(vectors: Sequence[Sequence[float]]) -> Similarity:
    """Return the cosine of two embeddings, as `checked_embeddings` returns them."""

    def similarity(first: int, second: int) -> float:
        return float(sum(map(mul, vectors[first], vectors[second])))

    return similarity


def checked_embeddings(vectors: Embeddings, count: int) -> list[list[float]]:
    """Return embeddings as plain floats of length 1; zeros stay zeros.

    Args:
        vectors: The embeddings, shape (documents, dimensions).
        count: The number of documents.

    Raises:
        TypeError: Something is no vector of numbers.
        ValueError: There are more or fewer than documents, or of several lengths, or a number is
            NaN or infinite.
    """
    found = [_unit(place, vector) for place, vector in enumerate(vectors)]
    if len(found) != count:
        raise ValueError(f"got {len(found)} embeddings for {count} documents")
    lengths = sorted({len(vector) for vector in found})
    if len(lengths) > 1:
        raise ValueError(
            f"the embeddings have {lengths[0]} and {lengths[-1]} dimensions: expected those of one "
            "model"
        )
    return found


def _unit(place: int, vector: Iterable[float]) -> list[float]:
    try:
        numbers = [float(number) for number in vector]
    except (TypeError, ValueError):
        raise TypeError(
            f"the embedding of document {place} is no vector of numbers: {vector!r:.60}"
        ) from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"the embedding of document {place} has a number that is not finite")
    length = math.hypot(*numbers)
    return [number / length for number in numbers] if length else numbers
