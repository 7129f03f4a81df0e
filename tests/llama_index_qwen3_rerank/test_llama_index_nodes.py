"""Which nodes come back, with which scores and texts, and that the given ones stay as they were."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy
import pytest
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from support.llama_index_samples import QUERY

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import ClosedError, Reranker, ScoringError


def embed_texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]


def expected_scores(reranker: Reranker, nodes: list[NodeWithScore], **kwargs: Any) -> dict:
    scores = reranker.score(QUERY, embed_texts(nodes), **kwargs)
    return {node.node_id: score for node, score in zip(nodes, scores, strict=True)}


def test_is_a_postprocessor(postprocessor: Qwen3Rerank) -> None:
    assert isinstance(postprocessor, BaseNodePostprocessor)
    assert postprocessor.class_name() == "Qwen3Rerank"


def test_each_node_gets_its_own_score_best_first(
    postprocessor: Qwen3Rerank, reranker: Reranker, nodes: list[NodeWithScore]
) -> None:
    """A peer gave the sorted scores to the nodes in input order."""
    expected = expected_scores(reranker, nodes)
    found = postprocessor.with_options(top_k=None).postprocess_nodes(nodes, query_str=QUERY)
    assert [node.node_id for node in found] == sorted(expected, key=lambda i: -expected[i])
    assert [node.node_id for node in found] != [node.node_id for node in nodes]
    for node in found:
        assert node.score == pytest.approx(expected[node.node_id], abs=1e-6)


def test_query_bundle_and_query_str_are_the_same(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    assert postprocessor.postprocess_nodes(
        nodes, query_bundle=QueryBundle(QUERY)
    ) == postprocessor.postprocess_nodes(nodes, query_str=QUERY)


async def test_async_gives_what_sync_gives(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    found = await postprocessor.apostprocess_nodes(nodes, query_str=QUERY)
    assert found == postprocessor.postprocess_nodes(nodes, query_str=QUERY)


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (3, 3), (7, 7), (99, 7), (None, 7)])
def test_top_k_keeps_that_many_at_most(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore], top_k: int | None, count: int
) -> None:
    found = postprocessor.with_options(top_k=top_k).postprocess_nodes(nodes, query_str=QUERY)
    assert len(found) == count


def test_five_nodes_are_kept_unless_told(reranker: Reranker, nodes: list[NodeWithScore]) -> None:
    found = Qwen3Rerank(reranker=reranker).postprocess_nodes(nodes, query_str=QUERY)
    assert len(found) == 5


def test_threshold_and_min_docs(
    postprocessor: Qwen3Rerank, reranker: Reranker, nodes: list[NodeWithScore]
) -> None:
    ordered = sorted(expected_scores(reranker, nodes).values(), reverse=True)
    middle = (ordered[1] + ordered[2]) / 2
    strict = postprocessor.with_options(score_threshold=middle)
    assert len(strict.postprocess_nodes(nodes, query_str=QUERY)) == 2
    nothing = postprocessor.with_options(score_threshold=1.0)
    assert nothing.postprocess_nodes(nodes, query_str=QUERY) == []
    at_least = nothing.with_options(min_docs=1)
    assert len(at_least.postprocess_nodes(nodes, query_str=QUERY)) == 1


@pytest.mark.parametrize("mode", list(MetadataMode))
def test_the_model_reads_the_metadata_that_the_mode_allows(
    postprocessor: Qwen3Rerank, reranker: Reranker, nodes: list[NodeWithScore], mode: MetadataMode
) -> None:
    for node in nodes:
        node.node.metadata["secret"] = "xyzzy " * 20
        node.node.excluded_embed_metadata_keys = ["secret"]
        node.node.excluded_llm_metadata_keys = ["title"]
    texts = [node.node.get_content(metadata_mode=mode) for node in nodes]
    assert ("title" in texts[0]) == (mode in {MetadataMode.ALL, MetadataMode.EMBED})
    found = postprocessor.with_options(top_k=None, metadata_mode=mode).postprocess_nodes(
        nodes, query_str=QUERY
    )
    expected = sorted(reranker.score(QUERY, texts), reverse=True)
    assert [node.score for node in found] == pytest.approx(expected, abs=1e-6)


def test_the_model_reads_what_embedding_models_read_by_default(reranker: Reranker) -> None:
    assert Qwen3Rerank(reranker=reranker).metadata_mode is MetadataMode.EMBED


def test_image_and_index_nodes_can_be_ranked_by_their_text(postprocessor: Qwen3Rerank) -> None:
    nodes = [
        NodeWithScore(node=ImageNode(text="a picture of dough", image_path="dough.png")),
        NodeWithScore(node=IndexNode(text="about bread", index_id="bread")),
        NodeWithScore(node=ImageNode(image_path="nothing.png")),
    ]
    by_text = postprocessor.with_options(images=False)
    found = by_text.postprocess_nodes(nodes, query_str=QUERY)
    assert {type(node.node) for node in found} == {ImageNode, IndexNode}
    assert len(found) == 3


def test_given_nodes_stay_as_they_were(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    """Peers write scores and metadata into the nodes of the index."""
    before = copy.deepcopy(nodes)
    identities = [(id(node), id(node.node)) for node in nodes]
    for keep in (False, True):
        found = postprocessor.with_options(keep_retrieval_score=keep).postprocess_nodes(
            nodes, query_str=QUERY
        )
        assert nodes == before
        assert identities == [(id(node), id(node.node)) for node in nodes]
        assert not {id(node) for node in found} & {id(node) for node in nodes}


def test_returned_nodes_are_copies_that_later_steps_may_change(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    """An index in memory returns its own nodes, which later postprocessors write to."""
    nodes.append(NodeWithScore(node=IndexNode(text="about bread", index_id="bread", id_="index")))
    before = copy.deepcopy(nodes)
    given = {node.node_id: node.node for node in nodes}
    all_kept = postprocessor.with_options(top_k=None, keep_retrieval_score=False)
    found = all_kept.postprocess_nodes(nodes, query_str=QUERY)
    for node in found:
        assert node.node == given[node.node_id]
        node.metadata["seen"] = True
        node.node.excluded_llm_metadata_keys.append("seen")
        node.node.set_content("another text")
    assert nodes == before


def test_scores_are_python_floats_and_dump_to_json(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    """Peers assign numpy numbers, and `to_json` raises."""
    for node in nodes:
        node.score = numpy.float32(node.score)
    keeping = postprocessor.with_options(keep_retrieval_score=True)
    for node in keeping.postprocess_nodes(nodes, query_str=QUERY):
        assert type(node.score) is float
        assert type(node.metadata["retrieval_score"]) is float
        assert json.loads(node.to_json())["score"] == node.score


def test_retrieval_score_is_kept_where_no_model_reads_it(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    """A peer's ends up in every later prompt."""
    nodes[0].score = None
    given = {node.node_id: node for node in nodes}
    keeping = postprocessor.with_options(top_k=None)
    found = keeping.postprocess_nodes(nodes, query_str=QUERY)
    for node in found:
        source = given[node.node_id]
        kept = {} if source.score is None else {"retrieval_score": source.score}
        assert node.metadata == {**source.metadata, **kept}
        for mode in (MetadataMode.EMBED, MetadataMode.LLM):
            assert node.node.get_content(mode) == source.node.get_content(mode)
    # So a second reranker reads the same texts, and notes the first one's scores.
    again = keeping.postprocess_nodes(found, query_str=QUERY)
    assert [node.score for node in again] == pytest.approx([node.score for node in found])
    assert [node.metadata["retrieval_score"] for node in again] == [node.score for node in found]
    assert again[0].node.excluded_llm_metadata_keys == ["retrieval_score"]


def test_metadata_is_untouched_on_request(
    postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    untouched = postprocessor.with_options(keep_retrieval_score=False)
    for node in untouched.postprocess_nodes(nodes, query_str=QUERY):
        assert list(node.metadata) == ["title"]


def test_no_query_is_an_error(postprocessor: Qwen3Rerank, nodes: list[NodeWithScore]) -> None:
    with pytest.raises(ValueError, match="needs a query"):
        postprocessor.postprocess_nodes(nodes)
    with pytest.raises(ValueError, match="query is blank"):
        postprocessor.postprocess_nodes(nodes, query_str=" ")


async def test_no_nodes_need_no_model() -> None:
    postprocessor = Qwen3Rerank(model="/there/is/no/such/model", local_files_only=True)
    assert postprocessor.postprocess_nodes([], query_str=QUERY) == []
    assert await postprocessor.apostprocess_nodes([], query_str=QUERY) == []
    assert not postprocessor.reranker.is_loaded


def test_the_model_is_loaded_once(
    checkpoint: Path, tmp_path: Path, nodes: list[NodeWithScore]
) -> None:
    """A peer loads it for every call; here its files are gone after the first."""
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    postprocessor = Qwen3Rerank(model=str(folder), device="cpu", dtype="float32")
    assert not postprocessor.reranker.is_loaded
    first = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    shutil.rmtree(folder)
    assert postprocessor.postprocess_nodes(nodes, query_str=QUERY) == first
    assert postprocessor.with_options(top_n=1).postprocess_nodes(nodes, query_str=QUERY)
    postprocessor.unload()
    assert not postprocessor.reranker.is_loaded


async def test_closed_is_closed(checkpoint: Path, nodes: list[NodeWithScore]) -> None:
    postprocessor = Qwen3Rerank(model=str(checkpoint), device="cpu", on_error="passthrough")
    postprocessor.close()
    with pytest.raises(ClosedError):
        postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    await postprocessor.aclose()
    with pytest.raises(ClosedError):
        await postprocessor.apostprocess_nodes(nodes, query_str=QUERY)


async def test_a_failure_is_an_error_by_default(
    broken: Qwen3Rerank, nodes: list[NodeWithScore]
) -> None:
    with pytest.raises(ScoringError, match="the judge is out"):
        broken.postprocess_nodes(nodes, query_str=QUERY)
    with pytest.raises(ScoringError, match="the judge is out"):
        await broken.apostprocess_nodes(nodes, query_str=QUERY)


@pytest.mark.parametrize("keep", [False, True])
async def test_a_failure_passed_through_shows_and_invents_no_score(
    forgiving: Qwen3Rerank, nodes: list[NodeWithScore], keep: bool
) -> None:
    nodes[1].score = None
    before = copy.deepcopy(nodes)
    postprocessor = forgiving.with_options(keep_retrieval_score=keep, score_threshold=0.99)
    for found in (
        postprocessor.postprocess_nodes(nodes, query_str=QUERY),
        await postprocessor.apostprocess_nodes(nodes, query_str=QUERY),
    ):
        assert [node.node_id for node in found] == ["node-0", "node-1", "node-2"]
        assert [node.score for node in found] == [nodes[0].score, None, nodes[2].score]
        for node, source in zip(found, nodes, strict=False):
            assert "the judge is out" in node.metadata["rerank_error"]
            assert ("retrieval_score" in node.metadata) == (keep and source.score is not None)
            for mode in (MetadataMode.EMBED, MetadataMode.LLM):
                assert node.node.get_content(mode) == source.node.get_content(mode)
    assert nodes == before


def test_a_real_failure_is_passed_through(checkpoint: Path, nodes: list[NodeWithScore]) -> None:
    """An instruction that leaves no room for documents, with a model that works."""
    postprocessor = Qwen3Rerank(
        model=str(checkpoint), device="cpu", max_length=120, on_error="passthrough", top_n=2
    )
    for node in postprocessor.postprocess_nodes(nodes, query_str=QUERY):
        assert "rerank_error" not in node.metadata
    long = postprocessor.with_options(instruction="and then " * 200)
    found = long.postprocess_nodes(nodes, query_str=QUERY)
    assert [node.node_id for node in found] == ["node-0", "node-1"]
    assert found[0].metadata["rerank_error"].startswith("QueryTooLongError")


def test_two_equal_texts_keep_their_order(postprocessor: Qwen3Rerank) -> None:
    nodes = [NodeWithScore(node=TextNode(text="the same", id_=name)) for name in "abc"]
    found = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    assert [node.node_id for node in found] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (TextNode(text="text"), "node 1 is TextNode: wrap each node: NodeWithScore(node=node)"),
        ("text", "node 1 is str: make one of a text: NodeWithScore(node=TextNode(text=...))"),
        (None, "node 1 is NoneType"),
    ],
)
async def test_what_is_no_node_with_score_is_told_how_to_become_one(node: Any, said: str) -> None:
    nodes = [NodeWithScore(node=TextNode(text="first")), node]
    postprocessor = Qwen3Rerank(model="tiny")
    with pytest.raises(TypeError) as raised:
        postprocessor.postprocess_nodes(nodes, query_str="query")
    assert said in str(raised.value)
    with pytest.raises(TypeError) as raised:
        await postprocessor.apostprocess_nodes(nodes, query_str="query")
    assert said in str(raised.value)
