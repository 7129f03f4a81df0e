"""The demo corpus in a LlamaIndex vector index."""

from __future__ import annotations

from typing import Any

from corpus import embed, load_passages
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import TextNode


class LocalEmbedding(BaseEmbedding):
    """`corpus.embed` as a LlamaIndex embedding."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return embed(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return embed(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return embed(query)


def make_index(**options: Any) -> VectorStoreIndex:
    """Return an index that holds every passage; the title is for display, not part of the text."""
    nodes = [
        TextNode(
            text=passage.text,
            id_=passage.id,
            metadata={"title": passage.title},
            excluded_embed_metadata_keys=["title"],
            excluded_llm_metadata_keys=["title"],
        )
        for passage in load_passages()
    ]
    return VectorStoreIndex(nodes, embed_model=LocalEmbedding(), **options)
