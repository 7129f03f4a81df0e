"""Threads and event loops that share one model."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from support.tiny_server import score, tiny_server

from langchain_qwen3_rerank import Qwen3Rerank, Qwen3RerankRetriever
from shared_core import Reranker
from shared_core.scorers.local.backbone import Backbone


class Recording:
    """A backend that notes the thread it runs on, and can be told to wait."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.may_finish = threading.Event()
        self.may_finish.set()

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.threads.add(threading.current_thread().name)
        if not self.may_finish.wait(timeout=60):
            raise TimeoutError("nobody let the scorer finish: the event loop is blocked")
        return [0.0] * len(documents)


class AsyncFound(BaseRetriever):
    """A retriever whose async form uses no thread."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise NotImplementedError

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return self.documents


class NoExecutor(ThreadPoolExecutor):
    """Fails whoever uses the event loop's shared threads."""

    def submit(self, *arguments: Any, **options: Any) -> Any:
        raise AssertionError("the default executor was used")


def models_in_memory() -> int:
    gc.collect()
    return sum(type(one) is Backbone for one in gc.get_objects())


async def test_async_runs_on_a_worker_of_its_own(documents: list[Document]) -> None:
    scorer = Recording()
    compressor = Qwen3Rerank(reranker=Reranker(scorer=scorer))
    asyncio.get_running_loop().set_default_executor(NoExecutor())
    await compressor.acompress_documents(documents, "q")
    retriever = Qwen3RerankRetriever(
        base_retriever=AsyncFound(documents=documents), reranker=compressor
    )
    await retriever.ainvoke("q")
    assert len(scorer.threads) == 1
    assert next(iter(scorer.threads)).startswith("qwen3-rerank")


async def test_async_does_not_block_the_event_loop(documents: list[Document]) -> None:
    scorer = Recording()
    scorer.may_finish.clear()
    compressor = Qwen3Rerank(reranker=Reranker(scorer=scorer))

    async def release() -> None:
        while not scorer.threads:
            await asyncio.sleep(0.001)
        scorer.may_finish.set()

    ranked, _ = await asyncio.gather(compressor.acompress_documents(documents, "q"), release())
    assert len(ranked) == 5


async def test_threads_and_event_loop_share_one_model(
    checkpoint: Path, documents: list[Document], query: str, expected: Any
) -> None:
    before = models_in_memory()
    compressor = Qwen3Rerank(model=str(checkpoint), dtype="float32", device="cpu", top_k=2)
    start = threading.Barrier(2)

    def in_thread(one: Qwen3Rerank) -> list[Document]:
        start.wait(timeout=60)
        return one.compress_documents(documents, query)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(2) as pool:
        results = await asyncio.gather(
            loop.run_in_executor(pool, in_thread, compressor),
            loop.run_in_executor(pool, in_thread, compressor.with_options(min_docs=1)),
            *(compressor.acompress_documents(documents, query) for _ in range(3)),
        )
    for ranked in results:
        assert [one.page_content for one in ranked] == [text for text, _ in expected[:2]]
        assert ranked[0].metadata["relevance_score"] == pytest.approx(expected[0][1], abs=1e-5)
    assert models_in_memory() - before == 1
    compressor.close()


def test_one_compressor_in_several_event_loops(
    compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    """Nothing is bound to the event loop of the first call."""
    first = asyncio.run(compressor.acompress_documents(documents, query))
    second = asyncio.run(compressor.acompress_documents(documents, query))
    assert first == second


async def test_a_server_is_awaited_by_the_loop_itself(documents: list[Document]) -> None:
    """Sixteen calls are under way at once, and no thread of ours is: the first wait for the last.

    What the base class does instead, one thread of the default executor a call, is refused.
    """

    class Refused(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the loop's default executor was used")

    asyncio.get_running_loop().set_default_executor(Refused(1))
    before = set(threading.enumerate())  # other tests may have left some
    with tiny_server(together=16) as server:
        compressor = Qwen3Rerank(base_url=server.url, max_concurrency=16, max_retries=0, top_k=3)
        calls = [compressor.acompress_documents(documents, f"query {n}") for n in range(16)]
        rankings = await asyncio.gather(*calls)
        names = [thread.name for thread in set(threading.enumerate()) - before]
        assert not [name for name in names if name.startswith("qwen3-rerank-http")]
        await compressor.aclose()
    assert sorted(body["query"] for body in server.bodies) == sorted(
        f"query {n}" for n in range(16)
    )
    best = sorted((score(one.page_content) for one in documents), reverse=True)[:3]
    for ranked in rankings:
        found = [one.metadata["relevance_score"] for one in ranked]
        assert found == pytest.approx(best, abs=1e-12)


async def test_a_cancelled_call_leaves_the_others_alone(documents: list[Document]) -> None:
    with tiny_server(together=3) as server:
        compressor = Qwen3Rerank(base_url=server.url, max_retries=0)
        first = asyncio.create_task(compressor.acompress_documents(documents, "first"))
        second = asyncio.create_task(compressor.acompress_documents(documents, "second"))
        while len(server.bodies) < 2:
            await asyncio.sleep(0.001)
        first.cancel()
        third = await compressor.acompress_documents(documents, "third")
        assert [one.page_content for one in await second] == [one.page_content for one in third]
        with pytest.raises(asyncio.CancelledError):
            await first
        await compressor.aclose()


def test_one_object_serves_threads_and_event_loops_over_one_server(
    documents: list[Document],
) -> None:
    with tiny_server() as server:
        compressor = Qwen3Rerank(
            base_url=server.url, api_key="sk-1234", headers={"x-gate": "open"}, instruction="Mine."
        )
        expected = compressor.compress_documents(documents, "q")
        for _ in range(2):
            assert asyncio.run(compressor.acompress_documents(documents, "q")) == expected
        with ThreadPoolExecutor(4) as pool:
            together = pool.map(lambda _: compressor.compress_documents(documents, "q"), range(8))
            assert all(one == expected for one in together)
        compressor.close()
    assert {seen["authorization"] for seen in server.headers} == {"Bearer sk-1234"}
    assert {seen["x-gate"] for seen in server.headers} == {"open"}
    assert {body["instruction"] for body in server.bodies} == {"Mine."}
