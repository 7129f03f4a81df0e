"""Events of a reranking for LlamaIndex's tracers and callback handlers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation import (  # type: ignore[attr-defined]  # public, unmarked
    get_dispatcher,
)
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import NodeWithScore, QueryBundle

dispatcher = get_dispatcher("llama_index_qwen3_rerank")


@contextmanager
def reranking(
    callback_manager: CallbackManager,
    *,
    query: QueryBundle,
    nodes: list[NodeWithScore],
    top_n: int,
    model_name: str,
) -> Iterator[list[NodeWithScore]]:
    """Announce a start, yield the list to put the reranked nodes in, and always announce an end.

    After a failure the list is empty, and so are the nodes of the end event; the failure itself is
    in the dropped span and in the callback's payload.

    Args:
        callback_manager: Receives the legacy callbacks.
        query: The search query.
        nodes: The nodes to rerank.
        top_n: The most nodes to keep. The event's type requires a number.
        model_name: The model that judges.
    """
    found: list[NodeWithScore] = []
    dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=model_name))
    payload: dict[str, Any] = {
        EventPayload.NODES: nodes,
        EventPayload.MODEL_NAME: model_name,
        EventPayload.QUERY_STR: query.query_str,
        EventPayload.TOP_K: top_n,
    }
    try:
        with callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield found
            event.on_end(payload={EventPayload.NODES: found})
    finally:
        dispatcher.event(ReRankEndEvent(nodes=found))
