"""Chunks of pairs: small enough for memory, large enough for full forward passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qwen3_rerank.batch.rows import Pair

PAIRS = 1024
CHARACTERS = 2_000_000


def chunks(pairs: Iterable[Pair], *, most: int = PAIRS) -> Iterator[list[Pair]]:
    """Yield pairs in their order, some thousand characters at a time.

    A chunk ends where a query does, unless that would double it.

    Args:
        pairs: The pairs; those of a query one behind the other.
        most: Pairs of a chunk.
    """
    chunk: list[Pair] = []
    characters = 0
    for pair in pairs:
        fill = max(len(chunk) / most, characters / CHARACTERS)
        if chunk and (fill >= 2 or (fill >= 1 and pair.query != chunk[-1].query)):
            yield chunk
            chunk, characters = [], 0
        chunk.append(pair)
        characters += len(pair.document) + len(pair.query)
    if chunk:
        yield chunk
