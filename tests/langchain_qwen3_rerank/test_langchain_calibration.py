"""`calibration` and `on_no_answer` in LangChain: metadata, and other documents instead."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from support.calibrations import HALF, Margins, calibrated

from langchain_qwen3_rerank import Qwen3Rerank
from shared_core import ConfigurationError, Reranker

GOOD = [Document(page_content=text, metadata={"page": 7}) for text in ("-1.0", "6.0")]
POOR = [Document(page_content=text, metadata={"probability": 0.9}) for text in ("-3.0", "-2.0")]
WEB = [Document(page_content="found elsewhere")]


async def test_probability_and_no_answer_are_in_the_metadata(tmp_path: Path) -> None:
    rerank = Qwen3Rerank(reranker=calibrated(tmp_path))
    found = rerank.compress_documents(GOOD, "q")
    ranking = rerank.reranker.rerank("q", ["-1.0", "6.0"])
    assert [d.metadata["probability"] for d in found] == [HALF.of(6.0), HALF.of(-1.0)]
    assert {d.metadata["no_answer"] for d in found} == {ranking.no_answer}
    assert await rerank.acompress_documents(GOOD, "q") == found
    plain = Qwen3Rerank(reranker=Reranker(scorer=Margins()))
    again = plain.compress_documents(found, "q")  # what another reranker left is not shown as ours
    assert [d.metadata.keys() for d in again] == [
        {"page", "retrieval_score", "relevance_score"}
    ] * 2
    one = rerank.with_options(min_probability=0.5).compress_documents(GOOD, "q")
    assert [d.page_content for d in one] == ["6.0"]


async def test_on_no_answer_acts_where_nothing_answers(tmp_path: Path) -> None:
    rerank = Qwen3Rerank(reranker=calibrated(tmp_path))
    asked: list[Any] = []

    def search(query: str, documents: list[Document]) -> list[Document]:
        asked.append((query, [d.page_content for d in documents]))
        return WEB

    async def asearch(query: str, documents: list[Document]) -> list[Document]:
        return search(query, documents)

    assert len(rerank.compress_documents(POOR, "q")) == 2
    for on_no_answer, expected in (("empty", []), (search, WEB)):
        acting = rerank.with_options(on_no_answer=on_no_answer)
        assert acting.compress_documents(POOR, "q") == expected
        assert await acting.acompress_documents(POOR, "q") == expected
        assert len(acting.compress_documents(GOOD, "q")) == 2
        assert acting.compress_documents([], "q") == expected
        assert await acting.acompress_documents([], "q") == expected
    awaiting = rerank.with_options(on_no_answer=asearch)
    assert await awaiting.ainvoke({"query": "q", "documents": POOR}) == WEB
    ranked = ("q", ["-2.0", "-3.0"])
    assert asked == [ranked, ranked, ("q", []), ("q", []), ranked]
    with pytest.raises(TypeError, match="is async"):
        awaiting.compress_documents(POOR, "q")
    with pytest.raises(TypeError, match="a list of Document, got one with a str"):
        rerank.with_options(on_no_answer=lambda q, d: ["text"]).compress_documents(POOR, "q")


def test_on_no_answer_is_refused_without_a_calibration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on_no_answer needs a calibration"):
        Qwen3Rerank(on_no_answer="empty")
    unfitted = Qwen3Rerank(reranker=calibrated(tmp_path, no_answer=None), on_no_answer="empty")
    with pytest.raises(ConfigurationError, match="with no_answer"):
        unfitted.compress_documents(GOOD, "q")


def test_copies_share_the_function_and_json_refuses_it(tmp_path: Path) -> None:
    class Search:
        def __call__(self, query: str, documents: list[Document]) -> list[Document]:
            return WEB

    search = Search()
    rerank = Qwen3Rerank(reranker=calibrated(tmp_path), on_no_answer=search)
    assert copy.deepcopy(rerank).on_no_answer is search
    restored = pickle.loads(pickle.dumps(rerank.with_options(on_no_answer="empty")))  # noqa: S301
    assert restored.compress_documents(POOR, "q") == []
    with pytest.raises(Exception, match="on_no_answer is a function"):
        rerank.model_dump_json()
