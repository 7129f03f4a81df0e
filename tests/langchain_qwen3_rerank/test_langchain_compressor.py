"""`Qwen3Rerank` by itself: what comes in, what comes out, and what is left alone."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from support.pages import ROOT
from support.tiny_server import unreachable_url

from langchain_qwen3_rerank import Qwen3Rerank
from shared_core import QueryTooLongError, RankedDocument, Reranker, Scored, ScoringError
from shared_core.errors import ModelLoadError


class PageDocument(Document):
    """A document with a field of its own, as applications have."""

    page: int = 0


class Exploding:
    """A backend that always fails."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        raise ConnectionError("no route to host")


class Counting:
    """A backend that scores by length and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str], str]] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.asked.append((query, list(documents), instruction))
        return [float(len(document)) for document in documents]


@pytest.fixture(params=["sync", "async"])
def compress(request: pytest.FixtureRequest) -> Any:
    """Both ways to call a compressor, as one awaitable."""

    async def call(compressor: Qwen3Rerank, *arguments: Any, **options: Any) -> list[Document]:
        if request.param == "sync":
            return compressor.compress_documents(*arguments, **options)
        return await compressor.acompress_documents(*arguments, **options)

    return call


async def test_order_and_scores_are_those_of_the_model(
    compress: Any, compressor: Qwen3Rerank, documents: list[Document], query: str, expected: Any
) -> None:
    ranked = await compress(compressor, documents, query)
    assert [document.page_content for document in ranked] == [text for text, _ in expected]
    scores = [document.metadata["relevance_score"] for document in ranked]
    assert scores == pytest.approx([score for _, score in expected], abs=1e-5)


async def test_scores_are_plain_floats_that_json_takes(
    compress: Any, compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    ranked = await compress(compressor, documents, query)
    assert {type(document.metadata["relevance_score"]) for document in ranked} == {float}
    json.dumps([document.metadata for document in ranked])


async def test_id_class_fields_and_metadata_survive(compress: Any, compressor: Qwen3Rerank) -> None:
    document = PageDocument(page_content="x", id="7", page=3, metadata={"source": "a", "n": [1]})
    (ranked,) = await compress(compressor, [document], "q")
    assert type(ranked) is PageDocument
    assert (ranked.id, ranked.page, ranked.page_content) == ("7", 3, "x")
    assert ranked.metadata.pop("relevance_score") > 0
    assert ranked.metadata == {"source": "a", "n": [1]}


async def test_input_is_not_changed(
    compress: Any, compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    documents[0].metadata["relevance_score"] = 0.5
    before = copy.deepcopy(documents)
    ranked = await compress(compressor, documents, query)
    for document in ranked:
        document.metadata["added later"] = True
    assert documents == before


async def test_score_of_the_retriever_is_kept_under_its_own_key(
    compress: Any, compressor: Qwen3Rerank, query: str
) -> None:
    documents = [
        Document("a", metadata={"relevance_score": 7.5}),
        Document("b", metadata={"relevance_score": 7.5, "retrieval_score": 0.1}),
        Document("c"),
    ]
    ranked = {
        document.page_content: document.metadata
        for document in await compress(compressor, documents, query)
    }
    assert all(metadata["relevance_score"] <= 1 for metadata in ranked.values())
    assert ranked["a"]["retrieval_score"] == 7.5
    assert ranked["b"]["retrieval_score"] == 0.1
    assert "retrieval_score" not in ranked["c"]


async def test_second_stage_keeps_the_score_of_the_retriever(
    compress: Any, compressor: Qwen3Rerank, query: str
) -> None:
    documents = [Document("a", metadata={"relevance_score": 7.5})]
    once = await compress(compressor, documents, query)
    (twice,) = await compress(compressor, once, query)
    assert twice.metadata["retrieval_score"] == 7.5


@pytest.mark.parametrize("top_k", [1, 3, 7, 100, None])
async def test_top_k(
    compress: Any, compressor: Qwen3Rerank, documents: list[Document], query: str, top_k: int | None
) -> None:
    everything = await compress(compressor, documents, query)
    kept = await compress(compressor.with_options(top_k=top_k), documents, query)
    assert kept == everything[:top_k]


async def test_top_k_is_5_unless_given(
    compress: Any, reranker: Reranker, documents: list[Document], query: str
) -> None:
    assert len(await compress(Qwen3Rerank(reranker=reranker), documents, query)) == 5


async def test_threshold_and_min_docs(
    compress: Any, compressor: Qwen3Rerank, documents: list[Document], query: str, expected: Any
) -> None:
    compressor.score_threshold = expected[2][1] - 1e-4
    assert len(await compress(compressor, documents, query)) == 3
    compressor.score_threshold = 1.0
    assert await compress(compressor, documents, query) == []
    compressor.min_docs = 2
    kept = await compress(compressor, documents, query)
    assert [document.page_content for document in kept] == [text for text, _ in expected[:2]]


@pytest.mark.parametrize("empty", [[], ()])
async def test_nothing_in_is_nothing_out_and_nothing_is_loaded(compress: Any, empty: Any) -> None:
    compressor = Qwen3Rerank(model="/nowhere")
    assert await compress(compressor, empty, "q") == []
    assert not compressor.reranker.is_loaded


async def test_any_sequence_is_taken(
    compress: Any, compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    as_list = await compress(compressor, documents, query)
    assert await compress(compressor, tuple(documents), query) == as_list


async def test_equal_texts_stay_different_documents(compress: Any, compressor: Qwen3Rerank) -> None:
    documents = [Document("same", id=str(index)) for index in range(3)]
    ranked = await compress(compressor, documents, "q")
    assert [document.id for document in ranked] == ["0", "1", "2"]


async def test_instruction_reaches_the_prompt(
    compress: Any, reranker: Reranker, documents: list[Document], query: str
) -> None:
    text = documents[0].page_content
    compressor = Qwen3Rerank(reranker=reranker, instruction=lambda query: f"Judge {query}")
    (ranked,) = await compress(compressor, documents[:1], query)
    instructed = reranker.score(query, [text], instruction=f"Judge {query}")[0]
    assert ranked.metadata["relevance_score"] == pytest.approx(instructed, abs=1e-6)
    assert instructed != pytest.approx(reranker.score(query, [text])[0], abs=1e-4)


async def test_instruction_none_is_the_default_one(compress: Any) -> None:
    scorer = Counting()
    shared = Reranker(scorer=scorer, instruction="Theirs")
    for compressor in (
        Qwen3Rerank(reranker=shared),
        Qwen3Rerank(reranker=shared, instruction="Mine"),
        Qwen3Rerank(reranker=shared, instruction=None),
    ):
        await compress(compressor, [Document("x")], "q")
    theirs, mine, default = (instruction for _, _, instruction in scorer.asked)
    assert (theirs, mine) == ("Theirs", "Mine")
    assert default.startswith("Given a web search query")


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (None, "Body"),
        ((), "Body"),
        (["title"], "title: T\n\nBody"),
        (("year", "title"), "year: 1999\ntitle: T\n\nBody"),
        (["missing", "none"], "Body"),
        (lambda document: document.metadata["title"].lower(), "t"),
    ],
)
async def test_document_text(compress: Any, how: Any, text: str) -> None:
    scorer = Counting()
    compressor = Qwen3Rerank(reranker=Reranker(scorer=scorer), document_text=how)
    document = Document("Body", metadata={"title": "T", "year": 1999, "none": None})
    (ranked,) = await compress(compressor, [document], "q")
    assert scorer.asked[0][1] == [text]
    assert ranked.page_content == "Body"


async def test_document_text_that_is_no_string_is_an_error(
    compress: Any, compressor: Qwen3Rerank
) -> None:
    compressor.document_text = lambda document: document.metadata.get("summary")  # type: ignore[assignment, return-value]
    with pytest.raises(TypeError, match="document_text must return a string, got NoneType"):
        await compress(compressor, [Document("x")], "q")


@pytest.mark.parametrize("wrong", [["text"], "text", [{"page_content": "text"}]])
async def test_what_is_no_document_is_an_error(
    compress: Any, compressor: Qwen3Rerank, wrong: Any
) -> None:
    with pytest.raises(TypeError, match="documents must be LangChain Documents, document 0 is"):
        await compress(compressor, wrong, "q")


async def test_blank_query_is_an_error(compress: Any, compressor: Qwen3Rerank) -> None:
    with pytest.raises(ValueError, match="query is blank"):
        await compress(compressor, [Document("x")], " ")


async def test_failure_is_an_error(compress: Any, checkpoint: Path) -> None:
    documents = [Document("x")]
    with pytest.raises(ModelLoadError):
        await compress(Qwen3Rerank(model="/nowhere"), documents, "q")
    with pytest.raises(ScoringError, match="no route to host"):
        await compress(Qwen3Rerank(reranker=Reranker(scorer=Exploding())), documents, "q")
    with pytest.raises(QueryTooLongError):
        await compress(Qwen3Rerank(model=str(checkpoint), max_length=16), documents, "q " * 50)


async def test_passthrough_keeps_order_and_invents_no_score(
    compress: Any, documents: list[Document], query: str
) -> None:
    documents[0].metadata["relevance_score"] = 0.99
    compressor = Qwen3Rerank(
        base_url=unreachable_url(),
        max_retries=0,
        on_error="passthrough",
        top_k=3,
        score_threshold=0.9,
    )
    kept = await compress(compressor, documents, query)
    assert [document.id for document in kept] == ["id-0", "id-1", "id-2"]
    assert all("relevance_score" not in document.metadata for document in kept)
    assert all("ServerUnreachableError" in document.metadata["rerank_error"] for document in kept)
    assert kept[0].metadata["retrieval_score"] == 0.99
    assert "rerank_error" not in documents[0].metadata


async def test_passthrough_does_not_hide_a_wrong_model(
    compress: Any, documents: list[Document], query: str
) -> None:
    with pytest.raises(ModelLoadError, match="/nowhere"):
        await compress(Qwen3Rerank(model="/nowhere", on_error="passthrough"), documents, query)


async def test_scored_document_has_no_error_of_an_earlier_stage(
    compress: Any, compressor: Qwen3Rerank
) -> None:
    document = Document("x", metadata={"rerank_error": "earlier"})
    (ranked,) = await compress(compressor, [document], "q")
    assert set(ranked.metadata) == {"relevance_score"}


async def test_long_document_is_cut_not_refused(compress: Any, checkpoint: Path) -> None:
    compressor = Qwen3Rerank(model=str(checkpoint), max_length=128, dtype="float32", device="cpu")
    (ranked,) = await compress(compressor, [Document("word " * 500)], "q")
    assert ranked.page_content == "word " * 500
    assert compressor.reranker.rerank("q", ["word " * 500])[0].truncated


def test_it_is_a_compressor(compressor: Qwen3Rerank) -> None:
    assert isinstance(compressor, BaseDocumentCompressor)


def test_facade_returns_the_same(
    compressor: Qwen3Rerank, documents: list[Document], query: str
) -> None:
    """The reranker inside is there for whoever wants logits and token counts."""
    rows = compressor.reranker.rerank(query, [document.page_content for document in documents])
    assert all(isinstance(row, RankedDocument) for row in rows)
    ranked = compressor.compress_documents(documents, query)
    assert [row.score for row in rows] == [
        document.metadata["relevance_score"] for document in ranked
    ]


IMPORTS = """
import asyncio
import sys
import langchain_qwen3_rerank as package
package.Qwen3CrossEncoder(model="tiny").score([])
compressor = package.Qwen3Rerank(model="tiny")
assert compressor.compress_documents([], "q") == []
assert asyncio.run(compressor.acompress_documents([], "q")) == []
unwanted = ["torch", "transformers", "llama_index", "langchain_classic", "langchain_community",
            "langchain_core.retrievers"]
assert not [name for name in unwanted if name in sys.modules], "too much is imported"
assert package.__all__ == sorted(package.__all__)
assert all(getattr(package, name).__name__ == name for name in package.__all__)
assert not hasattr(package, "Nonsense")
"""

MISSING = """
import sys
sys.modules["langchain_core"] = None
try:
    import langchain_qwen3_rerank
except ImportError as error:
    assert 'pip install "qwen3-rerank[langchain]"' in str(error), error
else:
    raise AssertionError("no error")
"""


@pytest.mark.parametrize("script", [IMPORTS, MISSING], ids=["light", "missing dependency"])
def test_import(script: str) -> None:
    """Importing is light, as is a call with nothing; a missing framework says what to install."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_five_functions_lie_between_an_application_and_the_backend() -> None:
    """Of this project: a traceback, a profile and a debugger show no more of it."""
    found: list[str] = []

    class Looking:
        def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
            return [0.0] * len(documents)

        def score_many(self, requests: Any, *, show_progress: bool = False) -> list[list[Scored]]:
            ours = ("langchain_qwen3_rerank", "shared_core")
            frames = traceback.extract_stack()
            found.extend(
                f.name
                for f in frames
                if Path(f.filename).is_relative_to(ROOT)
                and Path(f.filename).relative_to(ROOT).parts[0] in ours
            )
            return [[Scored(0.0)] * len(request.documents) for request in requests]

    Qwen3Rerank(reranker=Reranker(scorer=Looking())).compress_documents([Document("a")], "q")
    assert found == ["compress_documents", "_compressed", "rank", "rerank", "run"]
