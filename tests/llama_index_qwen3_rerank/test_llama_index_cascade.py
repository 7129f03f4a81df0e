"""A `Cascade` in the LlamaIndex adapter: its order, and which model each score is of."""

from __future__ import annotations

import pytest
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Cascade, Reranker

QUERY = "red planet"
TEXTS = ["Tea is brewed.", "Mars is red.", "The red planet is Mars.", "Rust is red.", "Mars."]


async def test_nodes_say_which_model_judged(reranker: Reranker, tiny: Reranker) -> None:
    cascade = Cascade(first=tiny, keep=2, second=reranker)
    postprocessor = Qwen3Rerank(reranker=cascade, top_k=4)
    nodes = [NodeWithScore(node=TextNode(text=text, id_=text)) for text in TEXTS]
    found = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    expected = cascade.rerank(QUERY, TEXTS, top_k=4)
    assert [node.node.node_id for node in found] == [one.document for one in expected]
    assert [node.metadata["rerank_stage"] for node in found] == [2, 2, 1, 1]
    assert [node.score for node in found] == pytest.approx([one.score for one in expected])
    assert "rerank_stage" in found[0].node.excluded_llm_metadata_keys
    assert await postprocessor.apostprocess_nodes(nodes, query_str=QUERY) == found
    again = Qwen3Rerank(reranker=tiny).postprocess_nodes(found, query_str=QUERY)
    assert not any("rerank_stage" in node.metadata for node in again)
