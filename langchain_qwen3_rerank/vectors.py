"""Embeddings of texts, by LangChain's `Embeddings` or a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

Embedder = Embeddings | Callable[[list[str]], Sequence[Sequence[float]]]
"""A LangChain embedding model, or a function from texts to a vector each."""


def embedded(embedder: Embedder | None, texts: list[str]) -> Sequence[Sequence[float]] | None:
    """Return a vector per text; ``None`` without an embedder."""
    if embedder is None:
        return None
    if isinstance(embedder, Embeddings):
        return embedder.embed_documents(texts)
    return embedder(texts)


async def aembedded(
    embedder: Embedder | None, texts: list[str]
) -> Sequence[Sequence[float]] | None:
    """`embedded` without blocking the event loop; a function runs in LangChain's executor."""
    if embedder is None:
        return None
    if isinstance(embedder, Embeddings):
        return await embedder.aembed_documents(texts)
    return await run_in_executor(None, embedder, texts)
