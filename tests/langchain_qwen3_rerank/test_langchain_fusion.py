"""Fusion and diversity behind real LangChain retrievers, and a retriever of one object."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError

from langchain_qwen3_rerank import Qwen3Rerank, Qwen3RerankRetriever
from shared_core import ConfigurationError, Reranker

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Letters(Embeddings):
    """Vectors of the letters of a text: small and real."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(text.lower().count(letter)) for letter in LETTERS] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture
def letter_store(documents: list[Document]) -> InMemoryVectorStore:
    store = InMemoryVectorStore(Letters())
    store.add_documents(documents)
    return store


@pytest.fixture
def scored(letter_store: InMemoryVectorStore) -> Any:
    """A retriever that leaves its scores, as LangChain's guide to retriever scores does."""

    def retrieve(query: str) -> list[Document]:
        found = letter_store.similarity_search_with_score(query, k=7)
        for document, score in found:
            document.metadata["score"] = score
        return [document for document, _ in found]

    return RunnableLambda(retrieve)


def z(values: Any) -> Any:
    return (np.array(values) - np.mean(values)) / np.std(values)


async def test_a_weight_fuses_the_scores_of_a_vector_store(
    reranker: Reranker, scored: Any, query: str
) -> None:
    retriever = Qwen3RerankRetriever(
        base_retriever=scored,
        reranker=reranker,
        top_k=None,
        fusion=0.3,
        retriever_score_key="score",
    )
    found = retriever.invoke(query)
    given = scored.invoke(query)
    margins = [one.logit for one in reranker.judge(query, [d.page_content for d in given])]
    fused = 0.7 * z(margins) + 0.3 * z([document.metadata["score"] for document in given])
    order = np.argsort(-fused)
    assert [document.id for document in found] == [given[place].id for place in order]
    for document, place in zip(found, order, strict=True):
        assert document.metadata["fused_score"] == pytest.approx(fused[place], abs=1e-6)
        assert document.metadata["score"] == given[place].metadata["score"]
        (alone,) = reranker.score(query, [document.page_content])
        assert document.metadata["relevance_score"] == pytest.approx(alone, abs=1e-6)
    assert await retriever.ainvoke(query) == found


def test_the_order_of_an_ensemble_counts_since_it_leaves_no_scores(
    reranker: Reranker, letter_store: InMemoryVectorStore, base_retriever: BaseRetriever, query: str
) -> None:
    ensemble = EnsembleRetriever(
        retrievers=[letter_store.as_retriever(search_kwargs={"k": 7}), base_retriever]
    )
    given = ensemble.invoke(query)
    assert not any({"score", "relevance_score"} & document.metadata.keys() for document in given)
    retriever = Qwen3RerankRetriever(
        base_retriever=ensemble, reranker=reranker, top_k=None, fusion="rrf"
    )
    margins = [one.logit for one in reranker.judge(query, [d.page_content for d in given])]
    ranks = {place: rank for rank, place in enumerate(np.argsort(-np.array(margins)), start=1)}
    expected = [1 / (60 + ranks[place]) + 1 / (61 + place) for place in range(len(given))]
    by_id = {document.id: value for document, value in zip(given, expected, strict=True)}
    found = retriever.invoke(query)
    assert {document.id: document.metadata["fused_score"] for document in found} == by_id
    assert sorted(by_id.values(), reverse=True) == [d.metadata["fused_score"] for d in found]


def test_a_key_that_no_document_has_is_warned_of(
    compressor: Qwen3Rerank,
    documents: list[Document],
    query: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fused = compressor.with_options(fusion="rrf")
    wrong = fused.with_options(retriever_score_key="scores")
    assert not caplog.records
    assert wrong.compress_documents(documents, query) == fused.compress_documents(documents, query)
    assert "no document has metadata['scores']" in caplog.text


def test_a_fused_score_of_an_earlier_reranking_does_not_stay(
    compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    first = compressor.with_options(fusion="rrf").compress_documents(documents, query)
    again = compressor.compress_documents(first, query)
    assert all("fused_score" in document.metadata for document in first)
    assert not any("fused_score" in document.metadata for document in again)


@pytest.mark.parametrize(
    "embeddings", [Letters(), Letters().embed_documents], ids=["model", "function"]
)
async def test_diversity_by_embeddings(
    compressor: Qwen3Rerank, documents: list[Document], query: str, embeddings: Any
) -> None:
    diverse = compressor.with_options(mmr=0.5, embeddings=embeddings, top_k=3)
    texts = [document.page_content for document in documents]
    expected = compressor.reranker.rerank(
        query, texts, mmr=0.5, embeddings=Letters().embed_documents(texts), top_k=3
    )
    found = diverse.compress_documents(documents, query)
    assert [document.page_content for document in found] == [one.document for one in expected]
    assert await diverse.acompress_documents(documents, query) == found


def test_a_copy_of_a_document_is_not_returned_twice(compressor: Qwen3Rerank) -> None:
    texts = ["Paris is the capital of France.", "Paris is the capital of France!", "Lyon is large."]
    documents = [Document(text) for text in texts]
    found = compressor.with_options(mmr=0.3, top_k=2).compress_documents(documents, "capital?")
    assert len({document.page_content[:5] for document in found}) == 2


def test_options_of_fusion_survive_dumps_copies_and_pickles() -> None:
    given = Qwen3Rerank(
        model="tiny", fusion=0.25, retriever_score_key="score", mmr=0.7, embeddings=Letters()
    )
    assert "embeddings" not in given.model_dump()
    for got in (
        Qwen3Rerank(**given.model_dump()),
        Qwen3Rerank.model_validate_json(given.model_dump_json()),
        pickle.loads(pickle.dumps(given)),  # noqa: S301 - made above
        copy.deepcopy(given),
    ):
        assert (got.fusion, got.retriever_score_key, got.mmr) == (0.25, "score", 0.7)
    assert copy.deepcopy(given).embeddings is given.embeddings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "rff"}, "rrf"),
        ({"mmr": 2}, "mmr"),
        ({"embeddings": 3}, "embeddings"),
        ({"top_k": True}, "expected a number, got a bool"),
        ({"top_k": "2"}, "expected a number, got a str"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Qwen3Rerank(model="tiny", **options)


def test_a_retriever_of_one_object(base_retriever: BaseRetriever, reranker: Reranker) -> None:
    alone = Qwen3RerankRetriever(base_retriever=base_retriever, model="tiny", top_n=2)
    assert (alone.reranker.model, alone.reranker.top_k) == ("tiny", 2)
    shared = Qwen3RerankRetriever(base_retriever=base_retriever, reranker=reranker, top_k=2)
    assert shared.reranker.reranker is reranker
    changed = Qwen3RerankRetriever(
        base_retriever=base_retriever, reranker=shared.reranker, instruction="Judge."
    )
    assert (changed.reranker.top_k, changed.reranker.instruction) == (2, "Judge.")
    assert changed.reranker.reranker is reranker
    default = Qwen3RerankRetriever(base_retriever=base_retriever).reranker
    assert default.model_dump() == Qwen3Rerank().model_dump()
    with pytest.raises(ValidationError, match=r"Did you mean model\?"):
        Qwen3RerankRetriever(base_retriever=base_retriever, modl="tiny")
    with pytest.raises(ValidationError, match="model cannot change"):
        Qwen3RerankRetriever(base_retriever=base_retriever, reranker=alone.reranker, model="x")


async def test_fields_can_be_configured(
    base_retriever: BaseRetriever, compressor: Qwen3Rerank, query: str
) -> None:
    fields: Any = {
        "top_k": ConfigurableField(id="k"),
        "instruction": ConfigurableField(id="task", name="Task"),
    }
    retriever = Qwen3RerankRetriever(base_retriever=base_retriever, reranker=compressor)
    chain = {"query": RunnablePassthrough(), "documents": base_retriever}
    for runnable in (
        retriever.configurable_fields(**fields),
        chain | compressor.configurable_fields(**fields),
    ):
        config: Any = {"configurable": {"k": 2, "task": "Find the opposite."}}
        expected = retriever.invoke(query, top_k=2, instruction="Find the opposite.")
        assert runnable.invoke(query, config) == expected
        assert await runnable.ainvoke(query, config) == expected
        assert runnable.invoke(query) == retriever.invoke(query)
        assert {spec.id for spec in runnable.config_specs} == {"k", "task"}
    with pytest.raises(ValueError, match="topk not found"):
        retriever.configurable_fields(topk=ConfigurableField(id="k"))


async def test_a_pipe_from_a_retriever_says_how(
    base_retriever: BaseRetriever, compressor: Qwen3Rerank, query: str
) -> None:
    with pytest.raises(TypeError, match=r"needs the query.*got list: .*Qwen3RerankRetriever"):
        (base_retriever | compressor).invoke(query)
    with pytest.raises(TypeError, match=r"got \['documents'\]"):
        await compressor.ainvoke({"documents": []})
    said = {"query": query, "documents": base_retriever.invoke(query)}
    assert compressor.invoke(said) == compressor.compress_documents(said["documents"], query)
    assert compressor.invoke(said, top_k=1) == compressor.invoke(said)[:1]


def test_a_repr_is_short_and_has_no_secret() -> None:
    assert repr(Qwen3Rerank()) == "Qwen3Rerank()"
    shown = repr(
        Qwen3Rerank(
            model="tiny", top_k=3, base_url="http://h", api_key="sk-12345678", headers={"x": "hide"}
        )
    )
    assert shown == "Qwen3Rerank(top_k=3, base_url='http://h', model='tiny')"


def test_what_belongs_to_the_model_cannot_be_configured_per_call(compressor: Qwen3Rerank) -> None:
    with pytest.raises(ConfigurationError, match="model cannot change"):
        compressor.invoke({"query": "q", "documents": []}, model="x")


async def test_documents_behind_max_candidates_follow_unscored(
    reranker: Reranker, documents: list[Document], query: str
) -> None:
    first = Qwen3Rerank(reranker=reranker, top_k=None, max_candidates=2)
    given = [document.model_copy(update={"metadata": {"score": 7}}) for document in documents]
    found = first.compress_documents(given, query)
    alone = first.compress_documents(given[:2], query)
    assert [document.page_content for document in found] == [
        document.page_content for document in [*alone, *documents[2:]]
    ]
    assert found[:2] == alone
    assert all(document.metadata["relevance_score"] > 0 for document in alone)
    assert [document.metadata for document in found[2:]] == [
        {"score": 7, "rerank_scored": False} for _ in documents[2:]
    ]
    assert await first.acompress_documents(given, query) == found
    hurried = first.with_options(max_candidates=None, time_budget=1e-9)
    flags = [d.metadata.get("rerank_scored") for d in hurried.compress_documents(given, query)]
    assert flags == [None] * 4 + [False] * (len(given) - 4)
    second = first.with_options(max_candidates=None).compress_documents(found, query)
    assert all(document.metadata["relevance_score"] > 0 for document in second)
    assert not any("rerank_scored" in document.metadata for document in second)
