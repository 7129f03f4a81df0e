"""Inside the real classes of LangChain: retrievers, pipelines, chains, cross encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever
from langchain_classic.retrievers.document_compressors import (
    CrossEncoderReranker,
    DocumentCompressorPipeline,
)
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_tests.integration_tests import RetrieversIntegrationTests
from langchain_text_splitters import CharacterTextSplitter
from support.tiny_server import unreachable_url

from langchain_qwen3_rerank import Qwen3CrossEncoder, Qwen3Rerank, Qwen3RerankRetriever
from shared_core import Reranker, ServerUnreachableError


class DropScoresBelow(BaseDocumentTransformer):
    """A filter after the reranker that reads its scores."""

    def __init__(self, least: float) -> None:
        self.least = least

    def transform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> Sequence[Document]:
        return tuple(one for one in documents if one.metadata["relevance_score"] >= self.least)


class Keywords(BaseRetriever):
    """A retriever of the simplest kind, sync only, that may find nothing."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        words = set(query.lower().split())
        return [one for one in self.documents if words & set(one.page_content.lower().split())]


def texts_of(documents: Sequence[Document]) -> list[str]:
    return [document.page_content for document in documents]


@pytest.fixture(params=[ContextualCompressionRetriever, Qwen3RerankRetriever])
def retriever_class(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def retriever(retriever_class: Any, base_retriever: Any, reranker: Reranker) -> Any:
    field = "reranker" if retriever_class is Qwen3RerankRetriever else "base_compressor"
    compressor = Qwen3Rerank(reranker=reranker, top_k=2)
    return retriever_class(base_retriever=base_retriever, **{field: compressor})


async def test_retriever_sync_async_batch_and_stream(
    retriever: Any, query: str, expected: Any
) -> None:
    best = [text for text, _ in expected[:2]]
    assert texts_of(retriever.invoke(query)) == best
    assert texts_of(await retriever.ainvoke(query)) == best
    assert [texts_of(one) for one in retriever.batch([query] * 3)] == [best] * 3
    assert [texts_of(one) for one in await retriever.abatch([query] * 3)] == [best] * 3
    assert [texts_of(one) for one in retriever.stream(query)] == [best]
    assert [texts_of(one) async for one in retriever.astream(query)] == [best]


async def test_chain_sync_async_batch_and_stream(retriever: Any, query: str, expected: Any) -> None:
    """The usual chain; only the answer is made up, by LangChain's own fake model."""
    seen: list[str] = []

    def remember(prompt: Any) -> Any:
        seen.append(prompt.to_string())
        return prompt

    chain = (
        {
            "context": retriever | (lambda documents: "\n".join(texts_of(documents))),
            "question": RunnablePassthrough(),
        }
        | ChatPromptTemplate.from_template("{context}\n\n{question}")
        | RunnableLambda(remember)
        | FakeListChatModel(responses=["Paris"])
        | StrOutputParser()
    )
    assert chain.invoke(query) == "Paris"
    assert await chain.ainvoke(query) == "Paris"
    assert chain.batch([query] * 2) == ["Paris"] * 2
    assert await chain.abatch([query] * 2) == ["Paris"] * 2
    assert "".join(chain.stream(query)) == "Paris"
    assert "".join([part async for part in chain.astream(query)]) == "Paris"
    assert len(seen) == 8
    assert set(seen) == {f"Human: {expected[0][0]}\n{expected[1][0]}\n\n{query}"}


async def test_nothing_retrieved_loads_nothing(
    retriever_class: Any, documents: list[Document]
) -> None:
    field = "reranker" if retriever_class is Qwen3RerankRetriever else "base_compressor"
    compressor = Qwen3Rerank(model="/nowhere")
    retriever = retriever_class(base_retriever=Keywords(documents=documents), **{field: compressor})
    assert retriever.invoke("xylophone") == []
    assert await retriever.ainvoke("xylophone") == []


async def test_pipeline_with_a_splitter_before_and_a_filter_after(
    reranker: Reranker, documents: list[Document], query: str
) -> None:
    splitter = CharacterTextSplitter(separator=" ", chunk_size=30, chunk_overlap=0)
    chunks = splitter.split_documents(documents)
    scores = reranker.score(query, texts_of(chunks))
    least = sorted(scores)[-4]
    pipeline = DocumentCompressorPipeline(
        transformers=[
            splitter,
            Qwen3Rerank(reranker=reranker, top_k=6),
            DropScoresBelow(least - 1e-4),
            Qwen3Rerank(reranker=reranker, top_k=3),
        ]
    )
    order = sorted(range(len(chunks)), key=lambda index: -scores[index])
    for kept in (
        pipeline.compress_documents(documents, query),
        await pipeline.acompress_documents(documents, query),
    ):
        assert texts_of(kept) == [chunks[index].page_content for index in order[:3]]
        assert all(one.metadata["source"] for one in kept)


async def test_pipeline_whose_stages_leave_nothing(reranker: Reranker, query: str) -> None:
    pipeline = DocumentCompressorPipeline(
        transformers=[
            Qwen3Rerank(reranker=reranker, score_threshold=1.0),
            Qwen3Rerank(model="/nowhere"),
        ]
    )
    assert pipeline.compress_documents([Document("x")], query) == []
    assert await pipeline.acompress_documents([Document("x")], query) == []


async def test_ensemble_upstream(
    reranker: Reranker, base_retriever: Any, documents: list[Document], query: str, expected: Any
) -> None:
    ensemble = EnsembleRetriever(
        retrievers=[base_retriever, Keywords(documents=documents)], weights=[0.5, 0.5]
    )
    retriever = ContextualCompressionRetriever(
        base_retriever=ensemble, base_compressor=Qwen3Rerank(reranker=reranker, top_k=None)
    )
    assert texts_of(retriever.invoke(query)) == [text for text, _ in expected]
    assert texts_of(await retriever.ainvoke(query)) == [text for text, _ in expected]


def test_cross_encoder_in_the_reranker_of_langchain(
    reranker: Reranker, documents: list[Document], query: str, expected: Any
) -> None:
    theirs = CrossEncoderReranker(model=Qwen3CrossEncoder(reranker=reranker), top_n=3)
    assert texts_of(theirs.compress_documents(documents, query)) == [t for t, _ in expected[:3]]
    assert theirs.compress_documents([], query) == []


def test_cross_encoder_keeps_the_order_of_its_input(reranker: Reranker) -> None:
    pairs = [("q1", "a"), ("q2", "a"), ("q1", "b"), ("q2", "b"), ("q1", "a")]
    encoder = Qwen3CrossEncoder(reranker=reranker, instruction="Judge.")
    scores = encoder.score(pairs)
    alone = [reranker.score(q, [d], instruction="Judge.")[0] for q, d in pairs]
    assert scores == pytest.approx(alone, abs=1e-5)
    assert {type(score) for score in scores} == {float}
    assert len(set(scores)) == 4


def test_cross_encoder_of_nothing() -> None:
    encoder = Qwen3CrossEncoder(model="/nowhere")
    assert encoder.score([]) == []
    assert not encoder.reranker.is_loaded


def test_cross_encoder_never_passes_failures_through() -> None:
    with pytest.raises(ValueError, match='on_error="passthrough" has no meaning'):
        Qwen3CrossEncoder(model="tiny", on_error="passthrough")
    shared = Reranker(base_url=unreachable_url(), max_retries=0, on_error="passthrough")
    with pytest.raises(ServerUnreachableError):
        Qwen3CrossEncoder(reranker=shared).score([("q", "d")])


async def test_options_of_one_retriever_call(
    base_retriever: Any, reranker: Reranker, query: str, expected: Any
) -> None:
    """Options of the reranker go to it, all others to the base retriever."""
    retriever = Qwen3RerankRetriever(
        base_retriever=base_retriever, reranker=Qwen3Rerank(reranker=reranker)
    )
    best = [text for text, _ in expected[:2]]
    assert texts_of(retriever.invoke(query, top_k=2)) == best
    assert texts_of(await retriever.ainvoke(query, top_n=2)) == best
    assert texts_of(retriever.bind(top_k=2).invoke(query)) == best
    assert len(retriever.invoke(query)) == 5
    assert len(retriever.invoke(query, k=3)) == 3
    assert len(await retriever.ainvoke(query, k=3)) == 3
    (instructed,) = retriever.invoke(query, top_k=1, instruction="Find the opposite.")
    alone = reranker.score(query, [instructed.page_content], instruction="Find the opposite.")
    assert instructed.metadata["relevance_score"] == pytest.approx(alone[0], abs=1e-5)
    with pytest.raises(ValueError, match="top_k"):
        retriever.invoke(query, top_k=0)


def test_retriever_over_any_runnable(
    reranker: Reranker, documents: list[Document], query: str, expected: Any
) -> None:
    retriever = Qwen3RerankRetriever(
        base_retriever=RunnableLambda(lambda _: documents),
        reranker=Qwen3Rerank(reranker=reranker, top_k=1),
    )
    assert texts_of(retriever.invoke(query)) == [expected[0][0]]


def test_retriever_refuses_unknown_options(base_retriever: Any, reranker: Reranker) -> None:
    with pytest.raises(ValueError, match="base_compressor"):
        Qwen3RerankRetriever(
            base_retriever=base_retriever,
            reranker=Qwen3Rerank(reranker=reranker),
            base_compressor=1,  # type: ignore[call-arg]
        )


class TestRetrieverStandard(RetrieversIntegrationTests):
    """LangChain's own standard tests for retrievers."""

    @pytest.fixture(autouse=True)
    def _take_fixtures(self, base_retriever: Any, reranker: Reranker, query: str) -> None:
        self.base_retriever, self.shared, self.query = base_retriever, reranker, query

    @property
    def retriever_constructor(self) -> Any:
        def construct(top_k: int = 5) -> Qwen3RerankRetriever:
            return Qwen3RerankRetriever(
                base_retriever=self.base_retriever,
                reranker=Qwen3Rerank(reranker=self.shared, top_k=top_k),
            )

        return construct

    @property
    def retriever_query_example(self) -> str:
        return self.query

    @property
    def num_results_arg_name(self) -> str:
        return "top_k"
