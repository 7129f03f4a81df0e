"""What tracers see of a rerank: one run below the caller's, in the sync and the async form."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from support.tiny_server import unreachable_url

from langchain_qwen3_rerank import Qwen3Rerank, Qwen3RerankRetriever
from shared_core import Reranker
from shared_core.errors import ModelLoadError


class Runs:
    """Collects runs by name."""

    def __init__(self) -> None:
        self.started: dict[str, dict[str, Any]] = {}
        self.ended: dict[UUID, Any] = {}
        self.failed: dict[UUID, BaseException] = {}

    def start(self, inputs: Any, event: dict[str, Any]) -> None:
        self.started[event["name"]] = {"inputs": inputs, **event}

    def outputs(self, name: str) -> Any:
        return self.ended[self.started[name]["run_id"]]


class SyncHandler(BaseCallbackHandler, Runs):
    def on_chain_start(self, serialized: Any, inputs: Any, **event: Any) -> None:
        self.start(inputs, event)

    def on_retriever_start(self, serialized: Any, query: str, **event: Any) -> None:
        self.start(query, event)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **event: Any) -> None:
        self.ended[run_id] = outputs

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **event: Any) -> None:
        self.failed[run_id] = error


class AsyncHandler(AsyncCallbackHandler, Runs):
    async def on_chain_start(self, serialized: Any, inputs: Any, **event: Any) -> None:
        self.start(inputs, event)

    async def on_retriever_start(self, serialized: Any, query: str, **event: Any) -> None:
        self.start(query, event)

    async def on_chain_end(self, outputs: Any, *, run_id: UUID, **event: Any) -> None:
        self.ended[run_id] = outputs

    async def on_chain_error(self, error: BaseException, *, run_id: UUID, **event: Any) -> None:
        self.failed[run_id] = error


@pytest.fixture(params=["sync", "async", "async call, sync handler"])
def trace(request: pytest.FixtureRequest) -> Any:
    """Returns a handler and a function that invokes a runnable with it."""
    handler = AsyncHandler() if request.param == "async" else SyncHandler()

    async def invoke(runnable: Any, query: Any) -> Any:
        config = {"callbacks": [handler], "metadata": {"model": "of the chain", "user": "u1"}}
        if request.param == "sync":
            return runnable.invoke(query, config)
        return await runnable.ainvoke(query, config)

    return handler, invoke


@pytest.fixture(params=[ContextualCompressionRetriever, Qwen3RerankRetriever])
def retriever_around(request: pytest.FixtureRequest, base_retriever: Any) -> Any:
    """Both retrievers that a compressor works in."""
    field = "reranker" if request.param is Qwen3RerankRetriever else "base_compressor"

    def make(compressor: Qwen3Rerank) -> Any:
        return request.param(base_retriever=base_retriever, **{field: compressor})

    return make


async def test_run_is_a_child_and_shows_everything(
    trace: Any, retriever_around: Any, reranker: Reranker, query: str
) -> None:
    handler, invoke = trace
    compressor = Qwen3Rerank(
        reranker=reranker, top_k=3, score_threshold=0.0, instruction=lambda query: f"For {query}"
    )
    retriever = retriever_around(compressor)
    ranked = await invoke(retriever, query)

    run = handler.started["Qwen3Rerank"]
    parent = handler.started[type(retriever).__name__]
    base = handler.started["VectorStoreRetriever"]
    assert run["parent_run_id"] == parent["run_id"] == base["parent_run_id"]
    assert run["inputs"]["query"] == query
    assert len(run["inputs"]["documents"]) == 7
    shown = run["metadata"]
    assert shown["model"] == reranker.options.model
    assert shown["instruction"] == f"For {query}"
    assert (shown["top_k"], shown["score_threshold"], shown["min_docs"]) == (3, 0.0, 0)
    assert (shown["n_documents"], shown["user"]) == (7, "u1")
    outputs = handler.outputs("Qwen3Rerank")
    assert outputs["documents"] == ranked
    assert outputs["scores"] == [one.metadata["relevance_score"] for one in ranked]
    assert (outputs["n_documents"], outputs["n_truncated"]) == (3, 0)
    assert outputs["rerank_error"] is None


async def test_failure_is_an_error_of_the_run(
    trace: Any, retriever_around: Any, query: str
) -> None:
    handler, invoke = trace
    with pytest.raises(ModelLoadError) as caught:
        await invoke(retriever_around(Qwen3Rerank(model="/nowhere")), query)
    assert handler.failed[handler.started["Qwen3Rerank"]["run_id"]] is caught.value


async def test_failure_passed_through_is_visible(
    trace: Any, retriever_around: Any, query: str
) -> None:
    handler, invoke = trace
    where = {"base_url": unreachable_url(), "max_retries": 0}
    compressor = Qwen3Rerank(**where, on_error="passthrough", top_k=2, score_threshold=0.9)
    found = await invoke(retriever_around(compressor), query)
    outputs = handler.outputs("Qwen3Rerank")
    assert outputs["scores"] == [None, None]
    assert outputs["rerank_error"].startswith("ServerUnreachableError: no answer")
    assert outputs["documents"] == found
    given = handler.started["Qwen3Rerank"]["inputs"]["documents"]
    assert [one.page_content for one in found] == [one.page_content for one in given[:2]]
    assert [one.metadata["rerank_error"] for one in found] == [outputs["rerank_error"]] * 2
    assert not any("relevance_score" in one.metadata for one in found)


async def test_truncated_documents_are_counted(trace: Any, checkpoint: Any) -> None:
    handler, invoke = trace
    compressor = Qwen3Rerank(model=str(checkpoint), max_length=128, device="cpu")
    documents = [Document("word " * 500), Document("short")]
    chain: Any = RunnableLambda(lambda query: compressor.compress_documents(documents, query))
    await invoke(chain, "q")
    assert handler.outputs("Qwen3Rerank")["n_truncated"] == 1


async def test_call_inside_a_chain_is_traced_without_passing_callbacks(
    trace: Any, compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    handler, invoke = trace

    def rank(query: str) -> list[Document]:
        return compressor.compress_documents(documents, query)

    async def arank(query: str) -> list[Document]:
        return await compressor.acompress_documents(documents, query)

    await invoke(RunnableLambda(rank, afunc=arank, name="mine"), query)
    mine, run = handler.started["mine"], handler.started["Qwen3Rerank"]
    assert run["parent_run_id"] == mine["run_id"]


async def test_run_has_the_name_of_the_subclass(
    trace: Any, reranker: Reranker, documents: list[Document], query: str
) -> None:
    class Ours(Qwen3Rerank):
        pass

    handler, invoke = trace
    ours = Ours(reranker=reranker)
    await invoke(RunnableLambda(lambda query: ours.compress_documents(documents, query)), query)
    assert "Ours" in handler.started


async def test_callbacks_alone_are_enough(
    compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    """Without a retriever, a list of handlers is a valid ``callbacks`` too."""
    sync: Any = SyncHandler()
    both: list[Any] = [AsyncHandler(), SyncHandler()]
    compressor.compress_documents(documents, query, [sync])
    await compressor.acompress_documents(documents, query, both)
    for handler in [sync, *both]:
        assert len(handler.outputs("Qwen3Rerank")["scores"]) == 7
