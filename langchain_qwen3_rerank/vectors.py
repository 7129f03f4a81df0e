"""Embeddings of texts, by LangChain's `Embeddings` or a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from shared_core.steps import Steps, wait

Embedder = Embeddings | Callable[[list[str]], Sequence[Sequence[float]]]
"""A LangChain embedding model, or a function from texts to a vector each."""


def embedded(
    embedder: Embedder | None, texts: list[str]
) -> Steps[Sequence[Sequence[float]] | None]:
    """Return a vector per text; ``None`` without an embedder.

    For event loops, a function runs in LangChain's executor.
    """
    if embedder is None:
        return None
    if isinstance(embedder, Embeddings):
        embed, aembed = embedder.embed_documents, embedder.aembed_documents
        return (yield from wait(partial(embed, texts), partial(aembed, texts)))
    run_there = partial(run_in_executor, None, embedder, texts)
    return (yield from wait(partial(embedder, texts), run_there))
