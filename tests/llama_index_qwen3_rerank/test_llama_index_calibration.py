"""`calibration` and `on_no_answer` in LlamaIndex: metadata, and other nodes instead."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from support.calibrations import HALF, calibrated

from llama_index_qwen3_rerank import Qwen3Rerank


def nodes(*margins: float) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=str(margin)), score=0.5) for margin in margins]


WEB = nodes(0.0)


async def test_probability_and_no_answer_are_in_the_metadata(tmp_path: Path) -> None:
    rerank = Qwen3Rerank(reranker=calibrated(tmp_path), top_k=None)
    given = nodes(-1.0, 6.0)
    found = rerank.postprocess_nodes(given, query_str="q")
    ranking = rerank.reranker.rerank("q", ["-1.0", "6.0"])
    assert [node.metadata["probability"] for node in found] == [HALF.of(6.0), HALF.of(-1.0)]
    assert {node.metadata["no_answer"] for node in found} == {ranking.no_answer}
    assert (
        found[0].get_content(MetadataMode.LLM) == found[0].get_content(MetadataMode.EMBED) == "6.0"
    )
    assert await rerank.apostprocess_nodes(given, query_str="q") == found
    one = rerank.with_options(min_probability=0.5).postprocess_nodes(given, query_str="q")
    assert [node.text for node in one] == ["6.0"]


async def test_on_no_answer_acts_where_nothing_answers(tmp_path: Path) -> None:
    rerank = Qwen3Rerank(reranker=calibrated(tmp_path))
    poor, good = nodes(-3.0, -2.0), nodes(-1.0, 6.0)
    asked: list[Any] = []

    def search(query: QueryBundle, found: list[NodeWithScore]) -> list[NodeWithScore]:
        asked.append((query.query_str, [node.text for node in found]))
        return WEB

    async def asearch(query: QueryBundle, found: list[NodeWithScore]) -> list[NodeWithScore]:
        return search(query, found)

    assert len(rerank.postprocess_nodes(poor, query_str="q")) == 2
    for on_no_answer, expected in (("empty", []), (search, WEB)):
        acting = rerank.with_options(on_no_answer=on_no_answer)
        assert acting.postprocess_nodes(poor, query_str="q") == expected
        assert await acting.apostprocess_nodes(poor, query_str="q") == expected
        assert len(acting.postprocess_nodes(good, query_str="q")) == 2
        assert acting.postprocess_nodes([], query_str="q") == expected
        assert await acting.apostprocess_nodes([], query_str="q") == expected
    awaiting = rerank.with_options(on_no_answer=asearch)
    assert await awaiting.apostprocess_nodes(poor, query_str="q") == WEB
    ranked = ("q", ["-2.0", "-3.0"])
    assert asked == [ranked, ranked, ("q", []), ("q", []), ranked]
    with pytest.raises(TypeError, match="is async"):
        awaiting.postprocess_nodes(poor, query_str="q")


def test_dumps_and_copies(tmp_path: Path) -> None:
    def search(query: QueryBundle, found: list[NodeWithScore]) -> list[NodeWithScore]:
        return WEB

    path = calibrated(tmp_path).options.calibration
    with pytest.raises(ValueError, match="on_no_answer needs a calibration"):
        Qwen3Rerank(on_no_answer=search)
    empty = Qwen3Rerank(
        base_url="http://localhost:1", calibration=path, on_no_answer="empty", model="Margins"
    )
    for restored in (
        Qwen3Rerank.from_json(empty.to_json()),
        Qwen3Rerank.from_dict(empty.to_dict()),
    ):
        assert (restored.calibration, restored.on_no_answer) == (path, "empty")
        assert restored.reranker.options == empty.reranker.options
    searching = empty.with_options(on_no_answer=search)
    assert copy.deepcopy(searching).on_no_answer is search
    with pytest.raises(TypeError, match="on_no_answer is a function"):
        searching.to_json()
