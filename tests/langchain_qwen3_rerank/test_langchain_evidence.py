"""Evidence in the metadata of LangChain documents, and documents reduced to it."""

from __future__ import annotations

import copy
import json

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from langchain_qwen3_rerank import Qwen3Rerank, Qwen3RerankRetriever
from shared_core import Reranker

QUERY = "What is the capital of France?"
TEXT = "A sonnet has lines. Paris is the capital. It is old. Bananas are rich. Lyon is large."


async def test_it_is_in_the_metadata_and_copies_alone_change(reranker: Reranker) -> None:
    documents = [Document(TEXT, id="x", metadata={"title": "Towns", "evidence": "mine"})]
    before = copy.deepcopy(documents)
    compressor = Qwen3Rerank(reranker=reranker, evidence=True, document_text=["title"])
    (found,) = compressor.compress_documents(documents, QUERY)
    assert [found] == await compressor.acompress_documents(documents, QUERY)
    assert documents == before
    assert found.page_content == TEXT
    assert found.metadata["evidence"] == "mine"
    evidence = found.metadata["relevance_evidence"]
    assert evidence.keys() == {"start", "end", "text", "score"}
    assert TEXT[evidence["start"] : evidence["end"]] == evidence["text"]
    assert json.dumps(evidence)
    (again,) = compressor.with_options(evidence=False).compress_documents([found], QUERY)
    assert "relevance_evidence" not in again.metadata


def test_a_retriever_compresses(reranker: Reranker) -> None:
    def retrieve(query: str) -> list[Document]:
        return [Document(TEXT)]

    retriever = Qwen3RerankRetriever(
        base_retriever=RunnableLambda(retrieve), reranker=reranker, return_window=True
    )
    (found,) = retriever.invoke(QUERY, compress="evidence")
    (ranked,) = reranker.rerank(QUERY, [TEXT], evidence=True)
    assert ranked.evidence is not None
    assert found.page_content == TEXT[slice(*ranked.evidence.around)]
    assert found.metadata["relevance_evidence"]["text"] == ranked.evidence.text


def test_where_something_else_is_judged_it_is_of_that(reranker: Reranker) -> None:
    whole = Qwen3Rerank(
        reranker=reranker,
        compress="evidence",
        document_text=lambda document: document.metadata["t"],
    )
    (found,) = whole.compress_documents([Document("x", metadata={"t": "One. Two."})], QUERY)
    evidence = found.metadata["relevance_evidence"]
    assert "One. Two."[evidence["start"] : evidence["end"]] == evidence["text"]
