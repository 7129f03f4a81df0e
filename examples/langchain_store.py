"""The demo corpus in a LangChain vector store."""

from __future__ import annotations

from corpus import embed, load_passages
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore


class LocalEmbeddings(Embeddings):
    """`corpus.embed` as a LangChain embedding."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [embed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return embed(text)


def make_store() -> InMemoryVectorStore:
    """Return a store that holds every passage."""
    store = InMemoryVectorStore(LocalEmbeddings())
    store.add_documents(
        [
            Document(passage.text, id=passage.id, metadata={"title": passage.title})
            for passage in load_passages()
        ]
    )
    return store
