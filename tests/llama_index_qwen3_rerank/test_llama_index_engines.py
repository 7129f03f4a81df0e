"""The postprocessor inside LlamaIndex's own engines.

Only the answer and the embeddings come from LlamaIndex's mocks (`MockLLM`, `MockEmbedding`); the
nodes travel through the real index, retriever, engine and synthesizer.
"""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import (
    CitationQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
)
from llama_index.core.retrievers import BaseRetriever, RouterRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from support.llama_index_samples import QUERY, TEXTS, EventRecorder

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker

EMBEDDING = MockEmbedding(embed_dim=8)


@pytest.fixture
def index() -> VectorStoreIndex:
    """An index of one node per text, made by an ingestion pipeline."""
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(chunk_size=256), EMBEDDING])
    documents = [
        Document(text=text, metadata={"title": f"Page {number}"})
        for number, text in enumerate(TEXTS)
    ]
    return VectorStoreIndex(pipeline.run(documents=documents), embed_model=EMBEDDING)


@pytest.fixture
def retriever(index: VectorStoreIndex) -> BaseRetriever:
    return index.as_retriever(similarity_top_k=len(TEXTS))


@pytest.fixture
def best(reranker: Reranker, retriever: BaseRetriever) -> list[tuple[str, Any]]:
    """The three texts that must come out, with their scores."""
    found = retriever.retrieve(QUERY)
    assert sorted(node.text for node in found) == sorted(TEXTS)
    read = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in found]
    scored = zip(reranker.score(QUERY, read), (node.text for node in found), strict=True)
    ordered = sorted(scored, reverse=True)[:3]
    return [(text, pytest.approx(score, abs=1e-6)) for score, text in ordered]


def texts_and_scores(nodes: list[NodeWithScore]) -> list[tuple[str, Any]]:
    return [(node.text, node.score) for node in nodes]


async def test_retriever_query_engine(
    postprocessor: Qwen3Rerank, retriever: BaseRetriever, best: Any
) -> None:
    engine = RetrieverQueryEngine.from_args(
        retriever, llm=MockLLM(), node_postprocessors=[postprocessor]
    )
    assert texts_and_scores(engine.query(QUERY).source_nodes) == best
    assert texts_and_scores((await engine.aquery(QUERY)).source_nodes) == best


async def test_as_query_engine_answers_from_the_best_nodes_only(
    postprocessor: Qwen3Rerank, index: VectorStoreIndex, best: Any
) -> None:
    engine = index.as_query_engine(
        llm=MockLLM(),
        similarity_top_k=len(TEXTS),
        node_postprocessors=[postprocessor.with_options(keep_retrieval_score=True)],
    )
    # `MockLLM` answers with the prompt it was given.
    for response in (engine.query(QUERY), await engine.aquery(QUERY)):
        assert texts_and_scores(response.source_nodes) == best
        prompt = str(response)
        assert [text for text in TEXTS if text in prompt] == [
            text for text in TEXTS if text in dict(best)
        ]
        assert "retrieval_score" not in prompt


async def test_citation_query_engine(
    postprocessor: Qwen3Rerank, index: VectorStoreIndex, best: Any
) -> None:
    engine = CitationQueryEngine.from_args(
        index,
        llm=MockLLM(),
        similarity_top_k=len(TEXTS),
        node_postprocessors=[postprocessor],
    )
    for response in (engine.query(QUERY), await engine.aquery(QUERY)):
        assert [score for _, score in texts_and_scores(response.source_nodes)] == [
            score for _, score in best
        ]
        for number, (node, (text, _)) in enumerate(zip(response.source_nodes, best, strict=True)):
            assert f"Source {number + 1}:" in node.text
            assert text in node.text


@pytest.mark.parametrize("kind", [ContextChatEngine, CondensePlusContextChatEngine])
async def test_chat_engines(
    postprocessor: Qwen3Rerank, retriever: BaseRetriever, best: Any, kind: Any
) -> None:
    engine = kind.from_defaults(
        retriever=retriever, llm=MockLLM(), node_postprocessors=[postprocessor]
    )
    assert texts_and_scores(engine.chat(QUERY).source_nodes) == best
    engine.reset()
    assert texts_and_scores((await engine.achat(QUERY)).source_nodes) == best


async def test_router_query_engine(
    postprocessor: Qwen3Rerank, retriever: BaseRetriever, best: Any
) -> None:
    engine = RetrieverQueryEngine.from_args(
        retriever, llm=MockLLM(), node_postprocessors=[postprocessor]
    )
    router = RouterQueryEngine(
        selector=EmbeddingSingleSelector.from_defaults(embed_model=EMBEDDING),
        query_engine_tools=[
            QueryEngineTool.from_defaults(engine, description=description)
            for description in ("about baking", "about anything else")
        ],
        llm=MockLLM(),
    )
    assert texts_and_scores(router.query(QUERY).source_nodes) == best
    assert texts_and_scores((await router.aquery(QUERY)).source_nodes) == best


async def test_router_retriever_and_retriever_tool(
    postprocessor: Qwen3Rerank, retriever: BaseRetriever, best: Any
) -> None:
    tool = RetrieverTool.from_defaults(
        retriever, node_postprocessors=[postprocessor], description="about baking"
    )
    router = RouterRetriever(
        selector=EmbeddingSingleSelector.from_defaults(embed_model=EMBEDDING),
        retriever_tools=[tool],
        llm=MockLLM(),
    )
    found = postprocessor.postprocess_nodes(router.retrieve(QUERY), query_str=QUERY)
    assert texts_and_scores(found) == best
    for output in (tool.call(QUERY), await tool.acall(QUERY)):
        asked = output.raw_input["input"]  # The tool adds line breaks to the query.
        assert output.raw_output == postprocessor.postprocess_nodes(
            retriever.retrieve(asked), query_str=asked
        )


async def test_chained_with_a_similarity_cutoff(
    postprocessor: Qwen3Rerank, retriever: BaseRetriever, best: Any
) -> None:
    """The scores are probabilities, so a cutoff in [0, 1] means something."""
    cutoff = (best[0][1].expected + best[1][1].expected) / 2
    engine = RetrieverQueryEngine.from_args(
        retriever,
        llm=MockLLM(),
        node_postprocessors=[postprocessor, SimilarityPostprocessor(similarity_cutoff=cutoff)],
    )
    assert texts_and_scores(engine.query(QUERY).source_nodes) == best[:1]
    assert texts_and_scores((await engine.aquery(QUERY)).source_nodes) == best[:1]


def test_the_index_is_not_changed_by_a_query(
    postprocessor: Qwen3Rerank, index: VectorStoreIndex, retriever: BaseRetriever
) -> None:
    before = {key: node.to_dict() for key, node in index.docstore.docs.items()}
    engine = RetrieverQueryEngine.from_args(
        retriever,
        llm=MockLLM(),
        node_postprocessors=[postprocessor.with_options(keep_retrieval_score=True)],
    )
    assert "retrieval_score" in engine.query(QUERY).source_nodes[0].metadata
    assert {key: node.to_dict() for key, node in index.docstore.docs.items()} == before
    assert all("retrieval_score" not in node.metadata for node in retriever.retrieve(QUERY))


async def test_a_failure_passed_through_still_answers(
    forgiving: Qwen3Rerank, retriever: BaseRetriever
) -> None:
    engine = RetrieverQueryEngine.from_args(
        retriever, llm=MockLLM(), node_postprocessors=[forgiving]
    )
    expected = texts_and_scores(retriever.retrieve(QUERY))[:3]
    for response in (engine.query(QUERY), await engine.aquery(QUERY)):
        assert texts_and_scores(response.source_nodes) == expected
        assert all("rerank_error" in node.metadata for node in response.source_nodes)
        assert "the judge is out" not in str(response)


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_the_engine_s_tracers_see_the_reranking_in_its_place(
    postprocessor: Qwen3Rerank,
    retriever: BaseRetriever,
    events: EventRecorder,
    spans: SimpleSpanHandler,
    how: str,
) -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    engine = RetrieverQueryEngine.from_args(
        retriever,
        llm=MockLLM(),
        node_postprocessors=[postprocessor],
        callback_manager=CallbackManager([handler]),
    )
    if how == "sync":
        engine.query(QUERY)
    else:
        await engine.aquery(QUERY)
    method = "_postprocess_nodes" if how == "sync" else "_apostprocess_nodes"
    names = {span.id_: span.id_.rpartition(".")[0] + "." for span in spans.completed_spans}
    [span] = [span for span in spans.completed_spans if method in span.id_]
    assert events.starts[0].span_id == events.ends[0].span_id == span.id_
    assert names[span.parent_id] == "RetrieverQueryEngine."
    # The engine hands its callback manager to its postprocessors.
    assert len(handler.get_event_pairs(CBEventType.RERANKING)) == 1
