"""A LangChain RAG chain with a reranker between retrieval and generation.

Generation is LangChain's own parrot, which answers with the prompt it was given: what you see
printed is exactly what a real chat model would read. Everything before it is real.
"""

from __future__ import annotations

import os

from langchain_core.language_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_store import make_store

from langchain_qwen3_rerank import Qwen3RerankRetriever

MODEL = os.environ.get("QWEN3_RERANK_MODEL", "tiny")
QUESTION = "At what temperature does mercury freeze?"

prompt = ChatPromptTemplate.from_template(
    "Answer from the context alone.\n\n{context}\n\nQuestion: {question}"
)


def format_documents(documents):
    return "\n".join(
        f"[{document.metadata['relevance_score']:.3f}] {document.page_content}"
        for document in documents
    )


def main() -> None:
    retriever = Qwen3RerankRetriever(
        base_retriever=make_store().as_retriever(search_kwargs={"k": 20}),
        model=MODEL,
        top_k=3,
    )
    chain = (
        {"context": retriever | format_documents, "question": RunnablePassthrough()}
        | prompt
        | ParrotFakeChatModel()
        | StrOutputParser()
    )
    print(chain.invoke(QUESTION))


if __name__ == "__main__":
    main()
