"""What the tests of the LangChain adapter share."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker

QUERY = "What is the capital of France?"
TEXTS = (
    "Paris has been the capital of France since the tenth century.",
    "Bananas are rich in potassium.",
    "The Eiffel Tower was finished in 1889.",
    "Lyon is a large city in the east of France.",
    "A sonnet has fourteen lines.",
    "Berlin is the capital of Germany.",
    "The Seine flows through Paris into the Channel.",
)


@pytest.fixture
def query() -> str:
    return QUERY


@pytest.fixture
def documents() -> list[Document]:
    """Documents with all that a retriever leaves on them."""
    return [
        Document(text, id=f"id-{index}", metadata={"source": f"{index}.txt", "tags": ["a", index]})
        for index, text in enumerate(TEXTS)
    ]


@pytest.fixture
def expected(reranker: Reranker) -> list[tuple[str, float]]:
    """Text and score in the right order, from the scores of each document by itself."""
    scores = [reranker.score(QUERY, [text])[0] for text in TEXTS]
    order = sorted(range(len(TEXTS)), key=lambda index: -scores[index])
    return [(TEXTS[index], scores[index]) for index in order]


@pytest.fixture
def compressor(reranker: Reranker) -> Qwen3Rerank:
    """A compressor over the random checkpoint that keeps everything."""
    return Qwen3Rerank(reranker=reranker, top_k=None)


@pytest.fixture
def store(documents: list[Document]) -> InMemoryVectorStore:
    """A real vector store of the documents, over embeddings without meaning."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    store.add_documents(documents)
    return store


@pytest.fixture
def base_retriever(store: InMemoryVectorStore) -> Any:
    """Finds all documents, in the order of the store."""
    return store.as_retriever(search_kwargs={"k": len(TEXTS)})
