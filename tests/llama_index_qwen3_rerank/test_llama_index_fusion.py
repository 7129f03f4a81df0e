"""Fusion and diversity behind real LlamaIndex retrievers."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from support.llama_index_samples import QUERY, TEXTS

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letters(texts: list[str]) -> list[list[float]]:
    return [[float(text.lower().count(letter)) for letter in LETTERS] for text in texts]


class Letters(BaseEmbedding):
    """Vectors of the letters of a text: small and real."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return letters([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return letters([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return letters([query])[0]


@pytest.fixture(scope="module")
def retrieved() -> list[NodeWithScore]:
    """What a real index returns."""
    index = VectorStoreIndex(
        [TextNode(text=text, id_=str(place)) for place, text in enumerate(TEXTS)],
        embed_model=Letters(),
    )
    return index.as_retriever(similarity_top_k=len(TEXTS)).retrieve(QUERY)


def z(values: Any) -> Any:
    return (np.array(values) - np.mean(values)) / np.std(values)


async def test_a_weight_fuses_the_scores_of_an_index(
    reranker: Reranker, retrieved: list[NodeWithScore]
) -> None:
    postprocessor = Qwen3Rerank(reranker=reranker, top_k=None, fusion=0.4)
    before = copy.deepcopy(retrieved)
    found = postprocessor.postprocess_nodes(retrieved, query_str=QUERY)
    margins = [one.logit for one in reranker.judge(QUERY, [node.text for node in retrieved])]
    fused = 0.6 * z(margins) + 0.4 * z([node.score for node in retrieved])
    order = np.argsort(-fused)
    assert [node.node_id for node in found] == [retrieved[place].node_id for place in order]
    for node, place in zip(found, order, strict=True):
        assert node.metadata["fused_score"] == pytest.approx(fused[place], abs=1e-6)
        assert node.metadata["retrieval_score"] == retrieved[place].score
        assert node.score == pytest.approx(reranker.score(QUERY, [node.text])[0], abs=1e-6)
        for mode in (MetadataMode.EMBED, MetadataMode.LLM):
            assert node.node.get_content(mode) == node.text
    again = await postprocessor.apostprocess_nodes(retrieved, query_str=QUERY)
    assert [node.model_dump() for node in again] == [node.model_dump() for node in found]
    assert retrieved == before


def test_nodes_without_scores_come_in_an_order_or_count_like_the_lowest(
    reranker: Reranker, retrieved: list[NodeWithScore]
) -> None:
    postprocessor = Qwen3Rerank(reranker=reranker, top_k=None, fusion=1.0)
    bare = [NodeWithScore(node=node.node) for node in retrieved]
    found = postprocessor.postprocess_nodes(bare, query_str=QUERY)
    assert [node.node_id for node in found] == [node.node_id for node in bare]
    assert not any("retrieval_score" in node.metadata for node in found)
    some = [bare[0], *retrieved[1:]]
    found = postprocessor.postprocess_nodes(some, query_str=QUERY)
    assert {node.node_id for node in found[-2:]} == {bare[0].node_id, retrieved[-1].node_id}


@pytest.mark.parametrize("source", ["model", "function", "own"])
async def test_diversity_by_embeddings(reranker: Reranker, source: str) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    model: Any = {"model": Letters(), "function": letters, "own": None}[source]
    if source == "own":
        for node, vector in zip(nodes, letters(TEXTS), strict=True):
            node.node.embedding = vector
    postprocessor = Qwen3Rerank(reranker=reranker, top_k=4, mmr=0.4, embed_model=model)
    expected = reranker.rerank(QUERY, TEXTS, mmr=0.4, embeddings=letters(TEXTS), top_k=4)
    by_words = reranker.rerank(QUERY, TEXTS, mmr=0.4, top_k=4)
    assert [one.index for one in expected] != [one.index for one in by_words]
    for found in (
        postprocessor.postprocess_nodes(nodes, query_str=QUERY),
        await postprocessor.apostprocess_nodes(nodes, query_bundle=QueryBundle(QUERY)),
    ):
        assert [node.text for node in found] == [one.document for one in expected]


def test_embeddings_that_some_nodes_lack_are_not_compared(reranker: Reranker) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    nodes[0].node.embedding = [1.0, 0.0]
    found = Qwen3Rerank(reranker=reranker, mmr=0.4).postprocess_nodes(nodes, query_str=QUERY)
    expected = reranker.rerank(QUERY, TEXTS, mmr=0.4, top_k=5)
    assert [node.text for node in found] == [one.document for one in expected]


def test_an_embedding_model_is_in_no_dump_and_shared_by_copies() -> None:
    given = Qwen3Rerank(model="tiny", mmr=0.4, embed_model=Letters())
    assert "embed_model" not in json.loads(given.to_json())
    assert Qwen3Rerank.from_json(given.to_json()).mmr == 0.4
    assert copy.deepcopy(given).embed_model is given.embed_model
    assert given.with_options(top_k=1).embed_model is given.embed_model


def test_a_repr_is_short_and_has_no_secret() -> None:
    assert repr(Qwen3Rerank()) == "Qwen3Rerank()"
    given = Qwen3Rerank(model="tiny", top_n=3, base_url="http://h", api_key="sk-12345678")
    assert repr(given) == "Qwen3Rerank(top_k=3, base_url='http://h', model='tiny')"


async def test_nodes_behind_max_candidates_follow_with_the_score_they_came_with(
    reranker: Reranker, retrieved: list[NodeWithScore]
) -> None:
    first = Qwen3Rerank(reranker=reranker, top_k=None, max_candidates=2)
    found = first.postprocess_nodes(retrieved, query_str=QUERY)
    alone = first.postprocess_nodes(retrieved[:2], query_str=QUERY)
    assert found[:2] == alone
    assert [(node.node.id_, node.score) for node in found[2:]] == [
        (node.node.id_, node.score) for node in retrieved[2:]
    ]
    flags = [node.metadata.get("rerank_scored") for node in found]
    assert flags == [None] * 2 + [False] * (len(retrieved) - 2)
    assert "rerank_scored" not in found[-1].node.get_content(metadata_mode=MetadataMode.LLM)
    assert await first.apostprocess_nodes(retrieved, query_str=QUERY) == found
    hurried = first.with_options(max_candidates=None, time_budget=1e-9)
    flags = [
        node.metadata.get("rerank_scored")
        for node in hurried.postprocess_nodes(retrieved, query_str=QUERY)
    ]
    assert flags == [None] * 4 + [False] * (len(retrieved) - 4)
    second = first.with_options(max_candidates=None).postprocess_nodes(found, query_str=QUERY)
    assert not any("rerank_scored" in node.metadata for node in second)
