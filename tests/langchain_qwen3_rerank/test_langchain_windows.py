"""Long LangChain documents: the best window in the metadata, or in the place of the text."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from langchain_qwen3_rerank import Qwen3CrossEncoder, Qwen3Rerank, Qwen3RerankRetriever
from shared_core import Reranker

QUERY = "What is the capital of France?"
FILLER = "Bananas are rich in potassium. A sonnet has fourteen lines. " * 8
LONG = FILLER + "Paris is the capital of France. " + FILLER
WINDOWS: dict[str, Any] = {"long_documents": "windows", "window_tokens": 48}


@pytest.fixture
def found() -> list[Document]:
    return [
        Document(LONG, id="long", metadata={"source": "a.txt", "tags": ["x"]}),
        Document("Lyon is a city.", id="short", metadata={"relevance_score": 0.4}),
    ]


def by_id(documents: list[Document]) -> dict[str | None, Document]:
    return {document.id: document for document in documents}


async def test_the_window_is_in_the_metadata(reranker: Reranker, found: list[Document]) -> None:
    before = copy.deepcopy(found)
    compressor = Qwen3Rerank(reranker=reranker, top_k=None, **WINDOWS)
    ranked = compressor.compress_documents(found, QUERY)
    assert await compressor.acompress_documents(found, QUERY) == ranked
    assert found == before
    long, short = by_id(ranked)["long"], by_id(ranked)["short"]
    start, end = long.metadata["relevance_window"]
    assert long.page_content == LONG
    (score,) = reranker.score(QUERY, [LONG[start:end]])
    assert long.metadata["relevance_score"] == pytest.approx(score, abs=1e-6)
    assert "relevance_window" not in short.metadata
    assert short.metadata["retrieval_score"] == 0.4


def test_the_window_in_the_place_of_the_text(reranker: Reranker, found: list[Document]) -> None:
    compressor = Qwen3Rerank(reranker=reranker, top_k=None, return_window=True, **WINDOWS)
    ranked = by_id(compressor.compress_documents(found, QUERY))
    start, end = ranked["long"].metadata["relevance_window"]
    assert ranked["long"].page_content == LONG[start:end]
    assert ranked["long"].metadata["source"] == "a.txt"
    assert ranked["short"].page_content == "Lyon is a city."
    assert found[0].page_content == LONG


def test_windows_belong_to_the_call_and_not_to_the_model(
    reranker: Reranker, found: list[Document]
) -> None:
    compressor = Qwen3Rerank(reranker=reranker, top_k=None)
    split = compressor.with_options(return_window=True, **WINDOWS)
    assert split.reranker is compressor.reranker
    assert len(split.compress_documents(found[:1], QUERY)[0].page_content) < len(LONG)
    (whole,) = compressor.compress_documents(found[:1], QUERY)
    assert (whole.page_content, "relevance_window" in whole.metadata) == (LONG, False)
    shared = Reranker(scorer=Lengths(), **WINDOWS)
    assert Qwen3Rerank(reranker=shared).long_documents == "windows"


class Lengths:
    """A scorer: the longer, the better."""

    def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
        return [float(len(document)) for document in documents]


def test_the_span_is_that_of_the_content_where_metadata_were_judged_too(
    reranker: Reranker, found: list[Document]
) -> None:
    compressor = Qwen3Rerank(
        reranker=reranker, document_text=["source"], return_window=True, **WINDOWS
    )
    (one,) = compressor.compress_documents(found[:1], QUERY)
    start, end = one.metadata["relevance_window"]
    assert one.page_content == LONG[start:end]
    assert "source:" not in one.page_content


def test_of_a_text_that_is_not_the_content_the_window_is_shown(reranker: Reranker) -> None:
    compressor = Qwen3Rerank(
        reranker=reranker, document_text=lambda one: one.metadata["body"], return_window=True,
        **WINDOWS,
    )  # fmt: skip
    (one,) = compressor.compress_documents([Document("a title", metadata={"body": LONG})], QUERY)
    start, end = one.metadata["relevance_window"]
    assert one.page_content == LONG[start:end]


def test_a_failure_leaves_documents_whole(found: list[Document]) -> None:
    class Broken:
        def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
            raise ConnectionError("no line")

    passing = Reranker(scorer=Broken(), on_error="passthrough")
    compressor = Qwen3Rerank(reranker=passing, return_window=True, **WINDOWS)
    ranked = compressor.compress_documents(found, QUERY)
    assert [one.page_content for one in ranked] == [one.page_content for one in found]
    assert not any("relevance_window" in one.metadata for one in ranked)


def test_in_retrievers(reranker: Reranker, found: list[Document]) -> None:
    class Fixed(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return found

    compressor = Qwen3Rerank(reranker=reranker, top_k=None, return_window=True, **WINDOWS)
    expected = compressor.compress_documents(found, QUERY)
    classic = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=Fixed())
    assert classic.invoke(QUERY) == expected
    own = Qwen3RerankRetriever(
        base_retriever=Fixed(), reranker=Qwen3Rerank(reranker=reranker, top_k=None)
    )
    assert own.invoke(QUERY, return_window=True, **WINDOWS) == expected


def test_a_cross_encoder_returns_the_best_windows_score(reranker: Reranker) -> None:
    encoder = Qwen3CrossEncoder(reranker=reranker, **WINDOWS)
    (best,) = reranker.rerank(QUERY, [LONG], **WINDOWS)
    assert encoder.score([(QUERY, LONG)]) == [pytest.approx(best.score, abs=1e-6)]
    whole = Qwen3CrossEncoder(reranker=reranker).score([(QUERY, LONG)])
    assert whole != [pytest.approx(best.score, abs=1e-6)]
