"""From nodes to texts, and back to new nodes. Nothing that was given is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore

from shared_core import RankedDocument

RETRIEVAL_SCORE = "retrieval_score"
RERANK_ERROR = "rerank_error"


def node_texts(nodes: Sequence[NodeWithScore], metadata_mode: MetadataMode) -> list[str]:
    """Return the text of each node, with the metadata that this mode lets a model see."""
    return [node.node.get_content(metadata_mode=metadata_mode) for node in nodes]


def ranked_nodes(
    nodes: Sequence[NodeWithScore],
    ranking: Sequence[RankedDocument],
    *,
    keep_retrieval_score: bool,
) -> list[NodeWithScore]:
    """Return new `NodeWithScore` objects in the order of the ranking.

    A node that was passed through unscored keeps the score it came with and says why in its
    metadata, under ``rerank_error``.
    """
    found = []
    for ranked in ranking:
        source = nodes[ranked.index]
        notes: dict[str, Any] = {}
        if keep_retrieval_score:
            # A retriever may have assigned a numpy number, which no JSON dump accepts.
            notes[RETRIEVAL_SCORE] = None if source.score is None else float(source.score)
        if ranked.error is not None:
            notes[RERANK_ERROR] = ranked.error
        found.append(
            NodeWithScore(
                node=annotated(source.node, notes) if notes else source.node,
                score=source.score if ranked.error is not None else ranked.score,
            )
        )
    return found


def annotated(node: BaseNode, notes: dict[str, Any]) -> BaseNode:
    """Return a copy with more metadata, none of it visible to embedding models and LLMs."""
    return node.model_copy(
        update={
            "metadata": {**node.metadata, **notes},
            "excluded_embed_metadata_keys": _with(node.excluded_embed_metadata_keys, notes),
            "excluded_llm_metadata_keys": _with(node.excluded_llm_metadata_keys, notes),
        }
    )


def _with(keys: Sequence[str], more: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys([*keys, *more]))
