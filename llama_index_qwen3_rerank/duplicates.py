"""`Qwen3DropDuplicates`, a LlamaIndex postprocessor that drops nodes like those before them."""

from __future__ import annotations

import asyncio
from functools import partial

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from llama_index_qwen3_rerank.nodes import check_nodes, node_texts
from llama_index_qwen3_rerank.vectors import EmbedModel, Vectors, embedded, own_vectors
from shared_core.diversity import by_embeddings, by_words, checked_embeddings, distinct
from shared_core.steps import Steps, arun, run, wait


class Qwen3DropDuplicates(BaseNodePostprocessor):
    """Drops every node that is nearly the same as one before it, and needs no query.

    The nodes that stay are those that came, in their order: the first of several alike. Before
    reranking it saves the model's work, behind it the reader's. Nodes are compared by their own
    embeddings where all have one, else by ``embed_model``, else by the words they share.

    Args:
        similarity: The least cosine of two nodes that are nearly the same, above 0 up to 1. By
            words, 0.9 is a sentence of ten words with one of them changed.
        embed_model: A LlamaIndex embedding model, or a function from texts to vectors; ``None``
            compares words. It is not part of dumps.
        by_embeddings: Whether embeddings that nodes bring are used; without, words tell.
    """

    similarity: float = Field(default=0.9, gt=0.0, le=1.0)
    embed_model: EmbedModel | None = Field(default=None, exclude=True, repr=False)
    by_embeddings: bool = True

    @classmethod
    def class_name(cls) -> str:
        """Return the class name that serialised dictionaries contain."""
        return "Qwen3DropDuplicates"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002  # LlamaIndex's signature
    ) -> list[NodeWithScore]:
        return run(self._distinct(nodes))

    async def _apostprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002  # LlamaIndex's signature
    ) -> list[NodeWithScore]:
        return await arun(self._distinct(nodes))

    def _distinct(self, nodes: list[NodeWithScore]) -> Steps[list[NodeWithScore]]:
        check_nodes(nodes)
        texts = node_texts(nodes, MetadataMode.NONE)
        own = own_vectors(nodes) if self.by_embeddings else None
        vectors = own or (yield from embedded(self.embed_model, texts))
        kept = partial(self._kept, nodes, texts, vectors)
        return (yield from wait(kept, partial(asyncio.to_thread, kept)))

    def _kept(
        self, nodes: list[NodeWithScore], texts: list[str], vectors: Vectors | None
    ) -> list[NodeWithScore]:
        if vectors is None:
            alike = by_words(texts)
        else:
            alike = by_embeddings(checked_embeddings(vectors, len(nodes)))
        return [nodes[place] for place in distinct(len(nodes), alike, least=self.similarity)]
