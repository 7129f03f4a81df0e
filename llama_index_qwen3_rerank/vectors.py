"""Embeddings of nodes: their own, or by LlamaIndex's embedding models or a function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeWithScore

from shared_core.steps import Steps, wait

EmbedModel = BaseEmbedding | Callable[[list[str]], Sequence[Sequence[float]]]
"""A LlamaIndex embedding model, or a function from texts to a vector each."""

Vectors = Sequence[Sequence[float]]


def own_vectors(nodes: Sequence[NodeWithScore]) -> Vectors | None:
    """Return the nodes' own embeddings, if all have one of the same length."""
    vectors: list[Any] = [node.node.embedding for node in nodes]
    known = [vector for vector in vectors if vector is not None]
    return known if len(known) == len(nodes) and len(set(map(len, known))) == 1 else None


def embedded(model: EmbedModel | None, texts: list[str]) -> Steps[Vectors | None]:
    """Return a vector per text; ``None`` without a model.

    For event loops, a function runs in a thread.
    """
    if model is None:
        return None
    if isinstance(model, BaseEmbedding):
        embed, aembed = model.get_text_embedding_batch, model.aget_text_embedding_batch
        return (yield from wait(partial(embed, texts), partial(aembed, texts)))
    return (yield from wait(partial(model, texts), partial(asyncio.to_thread, model, texts)))
