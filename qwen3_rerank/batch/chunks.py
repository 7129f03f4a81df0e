"""Chunks of pairs: small enough for memory, large enough for full forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qwen3_rerank.batch.rows import Pair
from shared_core.images.content import Content, text_of

PAIRS = 1024
CHARACTERS = 2_000_000
_IMAGE = 32_000  # characters that an image counts as, decoded a few megabytes large


def chunks(pairs: Iterable[Pair], *, most: int = PAIRS) -> Iterator[list[Pair]]:
    """Yield pairs in their order, some thousand characters at a time.

    A chunk ends where a query does, unless that would double it.

    Args:
        pairs: The pairs; those of a query one behind the other.
    """
    chunk: list[Pair] = []
    characters = 0
    for pair in pairs:
        fill = max(len(chunk) / most, characters / CHARACTERS)
        if chunk and (fill >= 2 or (fill >= 1 and pair.query != chunk[-1].query)):
            yield chunk
            chunk, characters = [], 0
        chunk.append(pair)
        characters += _size(pair.document) + _size(pair.query)
    if chunk:
        yield chunk


def _size(item: str | Content) -> int:
    images = 0 if isinstance(item, str) else len(item.images)
    return len(text_of(item)) + _IMAGE * images
