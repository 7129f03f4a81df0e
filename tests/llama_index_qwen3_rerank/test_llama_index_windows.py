"""Long LlamaIndex nodes: the best window in the metadata, or in the place of the text."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from llama_index.core.schema import (
    Document,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker

QUERY = "What is the capital of France?"
FILLER = "Bananas are rich in potassium. A sonnet has fourteen lines. " * 8
LONG = FILLER + "Paris is the capital of France. " + FILLER
WINDOWS: dict[str, Any] = {"long_documents": "windows", "window_tokens": 48}


def given_nodes() -> list[NodeWithScore]:
    node = TextNode(
        text=LONG, id_="long", metadata={"title": "Page"}, start_char_idx=100, end_char_idx=1100
    )
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="doc")
    return [
        NodeWithScore(node=node, score=0.9),
        NodeWithScore(node=TextNode(text="Lyon is a city.", id_="short"), score=0.5),
    ]


def by_id(nodes: list[NodeWithScore]) -> dict[str, NodeWithScore]:
    return {node.node.node_id: node for node in nodes}


async def test_the_window_is_in_the_metadata(reranker: Reranker) -> None:
    nodes, before = given_nodes(), given_nodes()
    postprocessor = Qwen3Rerank(reranker=reranker, keep_retrieval_score=False, **WINDOWS)
    found = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    assert [node.model_dump() for node in nodes] == [node.model_dump() for node in before]
    again = await postprocessor.apostprocess_nodes(nodes, query_str=QUERY)
    assert [node.model_dump() for node in again] == [node.model_dump() for node in found]
    long = by_id(found)["long"]
    start, end = long.node.metadata["relevance_window"]
    assert long.text == LONG
    assert 0 <= start < end <= len(LONG)
    assert end - start < len(LONG) / 2
    assert by_id(found)["short"].node == nodes[1].node
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert long.node.get_content(mode) == nodes[0].node.get_content(mode)


@pytest.mark.parametrize("mode", [MetadataMode.EMBED, MetadataMode.NONE])
def test_the_window_in_the_place_of_the_text(reranker: Reranker, mode: MetadataMode) -> None:
    nodes = given_nodes()
    postprocessor = Qwen3Rerank(
        reranker=reranker, return_window=True, metadata_mode=mode, **WINDOWS
    )
    long = by_id(postprocessor.postprocess_nodes(nodes, query_str=QUERY))["long"]
    start, end = long.node.metadata["relevance_window"]
    assert long.text == LONG[start:end]
    assert isinstance(long.node, TextNode)
    assert (long.node.start_char_idx, long.node.end_char_idx) == (100 + start, 100 + end)
    assert long.node.ref_doc_id == "doc"
    assert long.node.metadata["title"] == "Page"
    assert nodes[0].text == LONG
    assert nodes[0].node.metadata == {"title": "Page"}
    if mode is MetadataMode.NONE:
        (score,) = reranker.score(QUERY, [LONG[start:end]])
        assert long.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    "node",
    [Document(text=LONG), IndexNode(text=LONG, index_id="i"), TextNode(text=f"\n {LONG} \n")],
    ids=["document", "index-node", "blanks-around"],
)
def test_nodes_of_every_kind(reranker: Reranker, node: Any) -> None:
    before = copy.deepcopy(node)
    postprocessor = Qwen3Rerank(reranker=reranker, return_window=True, **WINDOWS)
    (found,) = postprocessor.postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert type(found.node) is type(node)
    start, end = found.node.metadata["relevance_window"]
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    assert found.node.get_content(metadata_mode=MetadataMode.NONE) == text[start:end]
    assert node == before


def test_windows_belong_to_the_call_and_not_to_the_model(reranker: Reranker) -> None:
    whole = Qwen3Rerank(reranker=reranker, keep_retrieval_score=False)
    split = whole.with_options(return_window=True, **WINDOWS)
    assert split.reranker is whole.reranker
    nodes = given_nodes()
    assert len(by_id(split.postprocess_nodes(nodes, query_str=QUERY))["long"].text) < len(LONG)
    assert by_id(whole.postprocess_nodes(nodes, query_str=QUERY))["long"].node == nodes[0].node


def test_a_failure_leaves_nodes_whole(forgiving: Qwen3Rerank) -> None:
    nodes = given_nodes()
    split = forgiving.with_options(return_window=True, **WINDOWS)
    found = split.postprocess_nodes(nodes, query_str=QUERY)
    assert [node.text for node in found] == [node.text for node in nodes]
    assert not any("relevance_window" in node.node.metadata for node in found)
