"""Conversion of nodes to texts, and of a ranking to new nodes. No input node is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, TextNode

from shared_core import Ranking
from shared_core.shown import RETRIEVAL_SCORE_KEY, STALE, Cut, ShownParts, ShownWindow, notes_of


def check_nodes(nodes: Sequence[NodeWithScore]) -> None:
    """Raise if something is not a `NodeWithScore`, as retrievers return them.

    Raises:
        TypeError: Says what it is, and how to make one of it.
    """
    for index, node in enumerate(nodes):
        if isinstance(node, NodeWithScore):
            continue
        if isinstance(node, BaseNode):
            remedy = "wrap each node: NodeWithScore(node=node)"
        else:
            remedy = "make one of a text: NodeWithScore(node=TextNode(text=...))"
        raise TypeError(
            f"nodes must be NodeWithScore, node {index} is {type(node).__name__}: {remedy}"
        )


def node_texts(nodes: Sequence[NodeWithScore], metadata_mode: MetadataMode) -> list[str]:
    """Return the text of each node, with the metadata of this mode."""
    return [node.node.get_content(metadata_mode=metadata_mode) for node in nodes]


def ranked_nodes(
    nodes: Sequence[NodeWithScore],
    texts: Sequence[str],
    ranking: Ranking,
    *,
    keep_retrieval_score: bool,
    cut: Cut,
) -> list[NodeWithScore]:
    """Return copies of the kept nodes, with their scores, in the order of the ranking.

    A copy has the class, id and every other field of the original. Its metadata is a new dict; the
    values in it are the same objects.

    More of its metadata is what `notes_of` has. A node that was not scored keeps the score it came
    with.

    Args:
        nodes: The nodes that were ranked. They are not changed.
        texts: The text that was judged, per node.
        ranking: The ranking of the nodes.
        keep_retrieval_score: Write the score that a node came with, if any, into its metadata.
        cut: What of a node becomes the text of the copy.
    """
    found = []
    for ranked in ranking:
        source = nodes[ranked.index]
        notes: dict[str, Any] = {}
        if keep_retrieval_score and source.score is not None:
            # A retriever may have assigned a numpy number, which no JSON dump accepts.
            notes[RETRIEVAL_SCORE_KEY] = float(source.score)
        content = source.node.get_content(metadata_mode=MetadataMode.NONE)
        shown = ShownParts(content, texts[ranked.index], ranked)
        notes |= notes_of(ranked, ranking, shown)
        node = annotated(source.node, notes)
        for stale in STALE - notes.keys():
            node.metadata.pop(stale, None)
        kept = shown.kept(cut)
        if kept is not None:
            cut_to(node, kept)
        score = ranked.score if ranked.scored else source.score
        found.append(NodeWithScore(node=node, score=score))
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


def cut_to(node: BaseNode, window: ShownWindow) -> None:
    """Reduce a copy of a node to a window of its text, and adjust its source position."""
    node.set_content(window.text)
    start = getattr(node, "start_char_idx", None)
    if isinstance(node, TextNode) and start is not None:
        node.start_char_idx, node.end_char_idx = start + window.start, start + window.end


def _with(keys: Sequence[str], more: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys([*keys, *more]))
