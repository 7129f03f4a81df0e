"""Nodes, and LlamaIndex's own handlers to look at what a tracer would see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.schema import NodeWithScore, TextNode
from support.llama_index_samples import TEXTS, EventRecorder

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker


@pytest.fixture
def nodes() -> list[NodeWithScore]:
    """Seven nodes as a retriever gives them: best first, with scores of its own."""
    return [
        NodeWithScore(
            node=TextNode(text=text, id_=f"node-{index}", metadata={"title": f"Page {index}"}),
            score=0.9 - index / 10,
        )
        for index, text in enumerate(TEXTS)
    ]


@pytest.fixture
def postprocessor(reranker: Reranker) -> Qwen3Rerank:
    return Qwen3Rerank(reranker=reranker, top_k=3)


@pytest.fixture
def events() -> Iterator[EventRecorder]:
    """All events of the test, at the root dispatcher, where tracers listen."""
    root, recorder = get_dispatcher(), EventRecorder()
    before = list(root.event_handlers)
    root.add_event_handler(recorder)
    yield recorder
    root.event_handlers = before


@pytest.fixture
def spans() -> Iterator[SimpleSpanHandler]:
    """All spans of the test."""
    root, recorder = get_dispatcher(), SimpleSpanHandler()
    before = list(root.span_handlers)
    root.add_span_handler(recorder)
    yield recorder
    root.span_handlers = before


class Broken:
    """A scorer that always fails."""

    def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
        raise ConnectionError("the judge is out")


@pytest.fixture
def broken() -> Qwen3Rerank:
    return Qwen3Rerank(reranker=Reranker(scorer=Broken()), top_k=3)


@pytest.fixture
def forgiving() -> Qwen3Rerank:
    return Qwen3Rerank(reranker=Reranker(scorer=Broken(), on_error="passthrough"), top_k=3)
