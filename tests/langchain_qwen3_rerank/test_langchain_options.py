"""Options of `Qwen3Rerank`: validation, change, copies, dumps."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from pydantic import SecretStr, ValidationError
from support.own_dialect import OwnDialect

from langchain_qwen3_rerank import Qwen3CrossEncoder, Qwen3Rerank, Qwen3RerankRetriever
from shared_core import ClosedError, ConfigurationError, Reranker, RerankerOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k"),
        ({"top_n": 0}, "top_k"),
        ({"top_n": -1}, "top_k"),
        ({"top_k": 2, "top_n": 2}, "top_k and top_n"),
        ({"topk": 2}, "topk"),
        ({"threshold": 0.5}, "threshold"),
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"min_docs": 6}, "min_docs=6"),
        ({"min_docs": -1}, "min_docs"),
        ({"max_length": 0}, "max_length"),
        ({"on_error": "ignore"}, "on_error"),
        ({"base_url": "localhost:8000"}, "base_url.*http://localhost:8000"),
        ({"timeout": 0}, "timeout"),
        ({"dialect": None}, "dialect"),
        ({"backend": "remote"}, "needs base_url"),
        ({"backend": "vllm", "base_url": "http://localhost"}, "leave out one of them"),
        ({"document_text": "title"}, "document_text"),
        ({"reranker": "tiny"}, "reranker"),
        ({"reranker": Reranker("tiny"), "model": "x", "device": "cpu"}, "device, model"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Qwen3Rerank(**options)


SPECIAL_VALUES: dict[str, Any] = {
    "backend": "remote",
    "instruction": "Judge.",
    "device": "cpu",
    "base_url": "http://localhost:8000",
    "api_key": SecretStr("sk-1234567890abcdef"),
    "headers": {"x-gate": SecretStr("hk-fedcba0987654321")},
    "dialect": "vllm-rerank",
}
"""Values of the options that do not take any value of their type."""


def another_value(name: str) -> Any:
    """Return a value of an option that is not its default."""
    if name in SPECIAL_VALUES:
        return SPECIAL_VALUES[name]
    field = RerankerOptions.model_fields[name]
    default = field.get_default(call_default_factory=True)
    kinds = [field.annotation, *get_args(field.annotation)]
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices:
        return next(choice for choice in choices if choice != default)
    if bool in kinds:
        return not default
    if dict in map(get_origin, kinds):
        return {"some": 1}
    return (default or 0) + 3 if {int, float} & set(kinds) else f"some-{name}"


def test_every_option_reaches_the_reranker() -> None:
    options = {name: another_value(name) for name in RerankerOptions.model_fields}
    for name in (
        "quantize",
        "adapter",
        "adapter_revision",
        "answers",
        "calibration",
    ):  # which are refused beside a server, or have to be there
        del options[name]
    default = RerankerOptions()
    assert not [name for name, value in options.items() if getattr(default, name) == value]
    compressor = Qwen3Rerank(**options)
    assert {name: getattr(compressor, name) for name in options} == options
    reached = compressor.reranker.options
    assert {name: getattr(reached, name) for name in options} == options


def test_a_server_is_chosen_and_shared_like_a_model() -> None:
    """Options of a server are fields, belong to the model, and are never changed on a copy."""
    compressor = Qwen3Rerank(base_url="http://localhost:8000", api_key="sk-1", top_k=3)
    assert compressor.reranker.options.is_remote
    other = compressor.with_options(top_k=1)
    assert other.reranker is compressor.reranker
    assert (other.base_url, other.api_key) == (compressor.base_url, compressor.api_key)
    with pytest.raises(ConfigurationError, match="api_key, base_url cannot change"):
        compressor.with_options(base_url="http://other", api_key="sk-2")  # type: ignore[call-arg]


def test_a_dialect_object_survives_all_but_json() -> None:
    dialect = OwnDialect()
    compressor = Qwen3Rerank(dialect=dialect, base_url="http://localhost", top_k=3)
    for copied in (
        compressor.with_options(top_k=1),
        compressor.model_copy(update={"top_k": 1}),
        compressor.model_copy(update={"top_k": 1}, deep=True),
        copy.deepcopy(compressor),
        Qwen3Rerank(**compressor.model_dump()),
        Qwen3Rerank(reranker=compressor.reranker),
        Qwen3Rerank(reranker=compressor.reranker, dialect=dialect),
    ):
        assert copied.dialect is copied.reranker.options.dialect is dialect
    back = pickle.loads(pickle.dumps(compressor))  # noqa: S301 - made above
    assert isinstance(back.reranker.options.dialect, OwnDialect)
    with pytest.raises(ValueError, match=r"the dialect is an object \(OwnDialect\), which JSON"):
        compressor.model_dump_json()


def test_options_of_a_shared_reranker_are_shown() -> None:
    shared = Reranker("tiny", max_length=99, instruction="Judge.")
    compressor = Qwen3Rerank(reranker=shared)
    assert compressor.reranker is shared
    assert (compressor.model, compressor.max_length, compressor.instruction) == (
        "tiny",
        99,
        "Judge.",
    )
    assert Qwen3Rerank(reranker=shared, instruction="Mine.").instruction == "Mine."


def test_reranker_none_is_as_left_out() -> None:
    assert Qwen3Rerank(reranker=None, model="tiny").reranker.options.model == "tiny"


def test_top_n_is_top_k() -> None:
    compressor = Qwen3Rerank(model="tiny", top_n=3)  # type: ignore[call-arg]
    assert (compressor.top_k, compressor.top_n) == (3, 3)
    compressor.top_n = 2
    assert compressor.top_k == 2
    assert Qwen3Rerank(model="tiny", top_n=None).top_k is None  # type: ignore[call-arg]


def test_refused_assignment_changes_nothing() -> None:
    compressor = Qwen3Rerank(model="tiny", top_k=3)
    before = compressor.model_dump()
    for name, value in [("top_k", 0), ("top_n", -1), ("min_docs", 4), ("score_threshold", 2.0)]:
        with pytest.raises(ValidationError):
            setattr(compressor, name, value)
    with pytest.raises(ValueError, match="topk"):
        compressor.topk = 1  # type: ignore[attr-defined]
    assert compressor.model_dump() == before


@pytest.mark.parametrize("owner", [Qwen3Rerank, Qwen3CrossEncoder])
@pytest.mark.parametrize("name", ["model", "max_length", "on_error", "base_url", "reranker"])
def test_what_belongs_to_the_model_is_fixed(owner: Any, name: str) -> None:
    """The model may be loaded already, and shared: a new value would be ignored."""
    held = owner(model="tiny")
    with pytest.raises(ConfigurationError, match=f"{name} cannot change.*make a new"):
        setattr(held, name, getattr(held, name))
    with pytest.raises(ConfigurationError, match=name):
        held.model_copy(update={name: getattr(held, name)})


def test_with_options_shares_the_model_and_leaves_the_original() -> None:
    compressor = Qwen3Rerank(model="tiny", top_k=3, instruction="Old.")
    other = compressor.with_options(
        instruction=None, top_n=None, score_threshold=0.5, min_docs=2, document_text=["title"]
    )
    assert other.reranker is compressor.reranker
    assert (other.instruction, other.top_k, other.score_threshold) == (None, None, 0.5)
    assert (other.min_docs, other.document_text) == (2, ["title"])
    assert (compressor.instruction, compressor.top_k, compressor.min_docs) == ("Old.", 3, 0)


def test_with_options_keeps_what_is_not_named() -> None:
    compressor = Qwen3Rerank(
        model="tiny", top_k=3, min_docs=1, instruction="Old.", document_text=["title"]
    )
    assert compressor.with_options(top_k=2).model_dump() == compressor.model_dump() | {"top_k": 2}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "x"}, ConfigurationError, "model cannot change.*make a new Qwen3Rerank"),
        ({"reranker": None}, ConfigurationError, "reranker cannot change"),
        ({"topk": 3}, ValidationError, "topk"),
        ({"top_k": 1, "top_n": 1}, ValidationError, "top_k and top_n"),
        ({"top_k": 0}, ValidationError, "top_k"),
        ({"min_docs": 9}, ValidationError, "min_docs=9"),
    ],
)
def test_with_options_refuses(options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Qwen3Rerank(model="tiny").with_options(**options)


def test_subclass_fields_survive_with_options() -> None:
    class Tagged(Qwen3Rerank):
        tag: str = ""

    other = Tagged(model="tiny", tag="mine").with_options(top_k=1)
    assert (type(other), other.tag) == (Tagged, "mine")


def test_dump_is_plain_and_rebuilds_the_same() -> None:
    compressor = Qwen3Rerank(
        reranker=Reranker("tiny", max_length=99), top_k=None, document_text=["title"]
    )
    dump = compressor.model_dump()
    assert "reranker" not in dump
    assert Qwen3Rerank(**dump).model_dump() == dump
    assert Qwen3Rerank.model_validate_json(compressor.model_dump_json()).model_dump() == dump
    assert Qwen3Rerank(**dump).reranker.options.max_length == 99
    assert "reranker=" not in repr(compressor)


def test_copies_share_the_model(tiny: Reranker) -> None:
    tiny.score("q", ["d"])
    compressor = Qwen3Rerank(reranker=tiny, document_text=["title"])
    copies = [
        copy.copy(compressor),
        copy.deepcopy(compressor),
        compressor.model_copy(),
        compressor.model_copy(deep=True),
        compressor.model_copy(update={"top_k": 1}, deep=True),
        copy.deepcopy({"nested": [compressor]})["nested"][0],
    ]
    assert all(one.reranker is tiny for one in copies)
    assert copies[1].document_text is not compressor.document_text


def test_pickle_carries_options_and_no_model(tiny: Reranker) -> None:
    tiny.score("q", ["d"])
    compressor = Qwen3Rerank(reranker=tiny, top_k=2)
    pickled = pickle.dumps(compressor)
    assert len(pickled) < 10_000
    back = pickle.loads(pickled)  # noqa: S301 - made above
    assert back.model_dump() == compressor.model_dump()
    assert not back.reranker.is_loaded
    assert len(back.compress_documents([Document(c) for c in "abc"], "q")) == 2


async def test_unload_frees_for_all_that_share(checkpoint: Path) -> None:
    compressor = Qwen3Rerank(model=str(checkpoint))
    other = compressor.with_options(top_k=1)
    documents = [Document("x")]
    assert not compressor.reranker.is_loaded
    first = compressor.compress_documents(documents, "q")
    assert other.reranker.is_loaded
    compressor.unload()
    assert not other.reranker.is_loaded
    assert await other.acompress_documents(documents, "q") == first


@pytest.mark.parametrize("how", ["close", "aclose"])
async def test_close_ends_all_that_share(how: str) -> None:
    compressor = Qwen3Rerank(model="tiny")
    other = compressor.with_options(top_k=1)
    for _ in range(2):  # closing twice is fine
        if how == "close":
            compressor.close()
        else:
            await compressor.aclose()
    with pytest.raises(ClosedError):
        other.compress_documents([Document("x")], "q")
    with pytest.raises(ClosedError):
        await other.acompress_documents([Document("x")], "q")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"topk": 3}, "there is no such option"),
        ({"base_retriver": 1}, "Did you mean base_retriever?"),
        ({"rerankr": 1}, "Did you mean reranker?"),
    ],
)
def test_a_misspelt_option_of_the_retriever_is_told_its_neighbour(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        Qwen3RerankRetriever(**options)
    assert said in str(raised.value)


async def test_a_misspelt_option_of_a_call_of_the_retriever_is_not_ignored() -> None:
    seen: list[dict[str, Any]] = []

    def base(query: str, **kwargs: Any) -> list[Document]:
        seen.append(kwargs)
        return [Document("a"), Document("b")]

    retriever = Qwen3RerankRetriever(
        base_retriever=RunnableLambda(base), reranker=Qwen3Rerank(model="tiny", device="cpu")
    )
    with pytest.raises(TypeError, match=r"Did you mean top_k\?"):
        retriever.invoke("query", topk=1)
    with pytest.raises(TypeError, match=r"Did you mean instruction\?"):
        await retriever.ainvoke("query", instrution="x")
    assert seen == []
    assert len(retriever.invoke("query", fetch_k=1, top_k=1)) == 1
    assert seen == [{"fetch_k": 1}]


def test_a_pair_of_document_and_score_is_told_to_be_the_document() -> None:
    with pytest.raises(TypeError, match="document 0 is tuple; give the document alone"):
        Qwen3Rerank(model="tiny").compress_documents([(Document("a"), 0.5)], "query")  # type: ignore[list-item]


def test_top_k_0_is_told_what_keeps_all() -> None:
    with pytest.raises(ValidationError, match="expected 1 or more, or None to keep all"):
        Qwen3Rerank(model="tiny", top_k=0)
