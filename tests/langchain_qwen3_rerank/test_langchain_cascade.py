"""A `Cascade` in the LangChain adapter: its order, and which model each score is of."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from langchain_qwen3_rerank import Qwen3CrossEncoder, Qwen3Rerank, Qwen3RerankRetriever
from shared_core import Cascade, ConfigurationError, Reranker

QUERY = "red planet"
TEXTS = ["Tea is brewed.", "Mars is red.", "The red planet is Mars.", "Rust is red.", "Mars."]


async def test_documents_say_which_model_judged(reranker: Reranker, tiny: Reranker) -> None:
    cascade = Cascade(first=tiny, keep=2, second=reranker)
    compressor = Qwen3Rerank(reranker=cascade, top_k=4)
    documents = [Document(text, metadata={"rerank_stage": 7}) for text in TEXTS]
    found = compressor.compress_documents(documents, QUERY)
    expected = cascade.rerank(QUERY, TEXTS, top_k=4)
    assert [document.page_content for document in found] == [one.document for one in expected]
    assert [document.metadata["rerank_stage"] for document in found] == [2, 2, 1, 1]
    assert [document.metadata["relevance_score"] for document in found] == pytest.approx(
        [one.score for one in expected]
    )
    assert await compressor.acompress_documents(documents, QUERY) == found
    inside = Qwen3Rerank(reranker=Reranker(scorer=cascade), top_k=4)
    assert inside.compress_documents(documents, QUERY) == found
    again = Qwen3Rerank(reranker=tiny).compress_documents(found, QUERY)
    assert not any("rerank_stage" in document.metadata for document in again)
    assert Qwen3RerankRetriever.model_fields["reranker"]


def test_a_cross_encoder_has_bare_scores_and_refuses_it(reranker: Reranker, tiny: Reranker) -> None:
    encoder = Qwen3CrossEncoder(reranker=Cascade(first=tiny, keep=1, second=reranker))
    with pytest.raises(ConfigurationError, match="scores of two models"):
        encoder.score([(QUERY, TEXTS[0])])
