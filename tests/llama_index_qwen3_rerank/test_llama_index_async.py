"""Async calls leave the event loop and its shared threads alone; threads share one model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore
from support.llama_index_samples import QUERY
from support.tiny_server import score, tiny_server

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker


class OffLimits(ThreadPoolExecutor):
    def submit(self, *args: Any, **kwargs: Any) -> Future:
        raise AssertionError("the loop's default executor was used")


async def test_the_default_executor_is_not_used(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    """`BaseNodePostprocessor` and every peer run there, in competition with all other work."""
    asyncio.get_running_loop().set_default_executor(OffLimits(1))
    assert await postprocessor.apostprocess_nodes(nodes, query_str=QUERY)


async def test_the_loop_is_free_meanwhile(nodes: list[NodeWithScore]) -> None:
    released, names = threading.Event(), []

    class Waiting:
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            names.append(threading.current_thread().name)
            if not released.wait(60):
                raise TimeoutError("the loop never came round to release this")
            return [0.0] * len(documents)

    postprocessor = Qwen3Rerank(reranker=Reranker(scorer=Waiting()))
    task = asyncio.create_task(postprocessor.apostprocess_nodes(nodes, query_str=QUERY))
    while not names:
        await asyncio.sleep(0.001)
    released.set()
    assert len(await task) == 5
    assert names[0].startswith("qwen3-rerank")


def test_one_object_serves_one_event_loop_after_another(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    """A peer's async client stayed with the first loop, and failed in the second."""

    async def twice() -> list[list[NodeWithScore]]:
        return await asyncio.gather(
            *(postprocessor.apostprocess_nodes(nodes, query_str=QUERY) for _ in range(2))
        )

    assert asyncio.run(twice()) == asyncio.run(twice())


def test_threads_share_one_model(checkpoint: Path, nodes: list[NodeWithScore]) -> None:
    """Peers fail with "Already borrowed" when two threads use one fast tokenizer."""
    postprocessor = Qwen3Rerank(model=str(checkpoint), device="cpu", dtype="float32")
    queries = [f"{QUERY} {number}" for number in range(8)]

    def run(query: str) -> list[tuple[str, float | None]]:
        found = postprocessor.postprocess_nodes(nodes, query_str=query)
        return [(node.node_id, node.score) for node in found]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, queries))
    for mixed, alone in zip(together, map(run, queries), strict=True):
        assert [name for name, _ in mixed] == [name for name, _ in alone]
        assert [score for _, score in mixed] == pytest.approx([score for _, score in alone])


async def test_a_server_is_awaited_by_the_loop_itself(nodes: list[NodeWithScore]) -> None:
    """Sixteen calls are under way at once, and no thread of ours is: the first wait for the last.

    What the base class and every peer do instead is refused: a thread of the default executor.
    """
    asyncio.get_running_loop().set_default_executor(OffLimits(1))
    before = set(threading.enumerate())  # other tests may have left some
    with tiny_server(together=16) as server:
        postprocessor = Qwen3Rerank(base_url=server.url, max_concurrency=16, max_retries=0)
        queries = [f"query {number}" for number in range(16)]
        rankings = await asyncio.gather(
            *(postprocessor.apostprocess_nodes(nodes, query_str=query) for query in queries)
        )
        names = [thread.name for thread in set(threading.enumerate()) - before]
        assert not [name for name in names if name.startswith("qwen3-rerank-http")]
        await postprocessor.aclose()
    assert sorted(body["query"] for body in server.bodies) == sorted(queries)
    texts = [node.node.get_content(metadata_mode=postprocessor.metadata_mode) for node in nodes]
    best = sorted(map(score, texts), reverse=True)[:5]
    for ranked in rankings:
        assert [node.score for node in ranked] == pytest.approx(best, abs=1e-12)


def test_a_server_is_told_key_headers_and_instruction(nodes: list[NodeWithScore]) -> None:
    with tiny_server() as server:
        postprocessor = Qwen3Rerank(
            base_url=server.url, api_key="sk-1234", headers={"x-gate": "open"}, instruction="Mine."
        )
        expected = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
        for _ in range(2):
            found = asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=QUERY))
            assert found == expected
        copied = postprocessor.with_options(instruction="Another.")
        assert copied.postprocess_nodes(nodes, query_str=QUERY) == expected
        postprocessor.close()
    assert {seen["authorization"] for seen in server.headers} == {"Bearer sk-1234"}
    assert {seen["x-gate"] for seen in server.headers} == {"open"}
    assert [body["instruction"] for body in server.bodies] == ["Mine."] * 3 + ["Another."]
