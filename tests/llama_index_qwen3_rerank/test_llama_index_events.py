"""What tracers and callback handlers see: every start has its end, inside the method's span."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from llama_index.core.callbacks import (
    CallbackManager,
    CBEventType,
    EventPayload,
    LlamaDebugHandler,
)
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import NodeWithScore, QueryBundle
from support.llama_index_samples import QUERY, EventRecorder
from support.tiny_server import unreachable_url

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker, ScoringError


async def postprocess(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore], how: str
) -> list[NodeWithScore]:
    if how == "sync":
        return postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    return await postprocessor.apostprocess_nodes(nodes, query_str=QUERY)


both_ways = pytest.mark.parametrize("how", ["sync", "async"])


@both_ways
async def test_success_has_a_start_and_an_end_in_one_span(
    postprocessor: Qwen3Rerank,
    nodes: list[NodeWithScore],
    events: EventRecorder,
    spans: SimpleSpanHandler,
    how: str,
) -> None:
    found = await postprocess(postprocessor, nodes, how)
    [start], [end], [span] = events.starts, events.ends, spans.completed_spans
    assert start.query == QueryBundle(QUERY)
    assert start.nodes == nodes
    assert (start.top_n, start.model_name) == (3, postprocessor.model)
    assert end.nodes == found
    method = "_postprocess_nodes" if how == "sync" else "_apostprocess_nodes"
    assert span.id_.startswith(f"Qwen3Rerank.{method}-")
    assert start.span_id == end.span_id == span.id_
    assert not spans.open_spans
    assert not spans.dropped_spans


@both_ways
async def test_keeping_all_is_a_number_in_the_events(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore], events: EventRecorder, how: str
) -> None:
    """The event's type has no "all": peers fail on it with a ValidationError."""
    await postprocess(postprocessor.with_options(top_k=None), nodes, how)
    assert events.starts[0].top_n == len(nodes)


@both_ways
async def test_no_nodes_have_no_events(
    postprocessor: Qwen3Rerank, events: EventRecorder, spans: SimpleSpanHandler, how: str
) -> None:
    """Peers leave a start without an end here."""
    assert await postprocess(postprocessor, [], how) == []
    assert events.starts == events.ends == []
    assert len(spans.completed_spans) == 1


async def test_no_query_has_no_events(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore], events: EventRecorder
) -> None:
    with pytest.raises(ValueError, match="needs a query"):
        postprocessor.postprocess_nodes(nodes)
    with pytest.raises(ValueError, match="needs a query"):
        await postprocessor.apostprocess_nodes(nodes)
    assert events.starts == events.ends == []


@both_ways
async def test_a_failure_ends_too(
    broken: Qwen3Rerank,
    nodes: list[NodeWithScore],
    events: EventRecorder,
    spans: SimpleSpanHandler,
    how: str,
) -> None:
    with pytest.raises(ScoringError):
        await postprocess(broken, nodes, how)
    [start], [end], [span] = events.starts, events.ends, spans.dropped_spans
    assert start.span_id == end.span_id == span.id_
    assert end.nodes == []
    assert not spans.open_spans


@both_ways
async def test_nodes_passed_through_are_in_the_end_event(
    forgiving: Qwen3Rerank, nodes: list[NodeWithScore], events: EventRecorder, how: str
) -> None:
    found = await postprocess(forgiving, nodes, how)
    assert events.ends[0].nodes == found
    assert all("rerank_error" in node.metadata for node in events.ends[0].nodes)


@both_ways
async def test_an_unreachable_server_passed_through_is_visible(
    nodes: list[NodeWithScore], events: EventRecorder, spans: SimpleSpanHandler, how: str
) -> None:
    """Input order, no score of ours, and the reason wherever a tracer looks."""
    handler = LlamaDebugHandler(print_trace_on_end=False)
    postprocessor = Qwen3Rerank(
        base_url=unreachable_url(),
        max_retries=0,
        on_error="passthrough",
        top_k=3,
        score_threshold=0.99,
        callback_manager=CallbackManager([handler]),
    )
    found = await postprocess(postprocessor, nodes, how)
    assert [node.node_id for node in found] == [node.node_id for node in nodes[:3]]
    assert [node.score for node in found] == [node.score for node in nodes[:3]]
    errors = [node.metadata["rerank_error"] for node in found]
    assert all(one.startswith("ServerUnreachableError: no answer from http://") for one in errors)
    assert events.ends[0].nodes == found
    [[_, end]] = handler.get_event_pairs(CBEventType.RERANKING)
    assert end.payload == {EventPayload.NODES: found}
    assert len(spans.completed_spans) == 1
    assert not any("rerank_error" in node.metadata for node in nodes)


async def test_cancelling_ends_too(
    nodes: list[NodeWithScore], events: EventRecorder, spans: SimpleSpanHandler
) -> None:
    released = threading.Event()

    class Waiting:
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            released.wait(60)
            return [0.0] * len(documents)

    handler = LlamaDebugHandler(print_trace_on_end=False)
    postprocessor = Qwen3Rerank(
        reranker=Reranker(scorer=Waiting()), callback_manager=CallbackManager([handler])
    )
    task = asyncio.create_task(postprocessor.apostprocess_nodes(nodes, query_str=QUERY))
    while not events.starts:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    released.set()
    assert len(events.starts) == len(events.ends) == 1
    assert len(handler.get_event_pairs(CBEventType.RERANKING)[0]) == 2
    assert not spans.open_spans


@both_ways
async def test_callback_handlers_get_a_pair(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore], how: str
) -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    postprocessor = postprocessor.with_options(callback_manager=CallbackManager([handler]))
    found = await postprocess(postprocessor, nodes, how)
    [[start, end]] = handler.get_event_pairs(CBEventType.RERANKING)
    assert start.payload == {
        EventPayload.NODES: nodes,
        EventPayload.MODEL_NAME: postprocessor.model,
        EventPayload.QUERY_STR: QUERY,
        EventPayload.TOP_K: 3,
    }
    assert end.payload == {EventPayload.NODES: found}


@both_ways
async def test_callback_handlers_get_the_failure(
    broken: Qwen3Rerank, nodes: list[NodeWithScore], how: str
) -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    broken.callback_manager = CallbackManager([handler])
    with pytest.raises(ScoringError) as caught:
        await postprocess(broken, nodes, how)
    [[_, end]] = handler.get_event_pairs(CBEventType.RERANKING)
    assert end.payload == {EventPayload.EXCEPTION: caught.value}
