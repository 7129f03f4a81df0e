"""`Qwen3Rerank` inside LangChain's `ContextualCompressionRetriever`, before and after."""

from __future__ import annotations

import os

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_store import make_store

from langchain_qwen3_rerank import Qwen3Rerank

MODEL = os.environ.get("QWEN3_RERANK_MODEL", "tiny")
QUESTION = "How do I undo a commit that I have already pushed?"


def main() -> None:
    retriever = make_store().as_retriever(search_kwargs={"k": 20})
    reranking = ContextualCompressionRetriever(
        base_compressor=Qwen3Rerank(model=MODEL, top_k=3),
        base_retriever=retriever,
    )
    print(QUESTION)
    print("\nretrieved:")
    for document in retriever.invoke(QUESTION)[:3]:
        print(f"         {document.metadata['title']}")
    print("\nreranked:")
    for document in reranking.invoke(QUESTION):
        print(f"  {document.metadata['relevance_score']:.4f} {document.metadata['title']}")


if __name__ == "__main__":
    main()
