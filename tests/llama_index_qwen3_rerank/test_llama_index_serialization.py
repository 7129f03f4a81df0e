"""Dumps, pickles and copies: no model is loaded, no option lost, nothing dropped in silence."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import MetadataMode, NodeWithScore
from support.llama_index_samples import QUERY
from support.own_dialect import OwnDialect

from llama_index_qwen3_rerank import Qwen3Rerank
from shared_core import Reranker, RerankerOptions

OPTIONS: dict[str, Any] = {
    "model": "tiny",
    "backend": "remote",
    "base_url": "http://localhost:8000",
    "dialect": "vllm-rerank",
    "template": "server",
    "tokenizer": "a_folder",
    "timeout": 1.0,
    "connect_timeout": 2.0,
    "total_timeout": 3.0,
    "max_retries": 4,
    "max_concurrency": 5,
    "requests_per_second": 6.0,
    "engine_args": {"tensor_parallel_size": 2},
    "instruction": "Find it",
    "device": "cpu",
    "dtype": "float32",
    "max_length": 500,
    "max_batch_tokens": 4000,
    "threads": 3,
    "unload_after": 600.0,
    "image_cache_size": 7,
    "revision": "main",
    "cache_dir": "somewhere",
    "local_files_only": True,
    "hub": "modelscope",
    "long_documents": "windows",
    "window_tokens": 256,
    "window_overlap": 0,
    "return_window": True,
    "cache_size": 10,
    "show_progress": True,
    "on_error": "passthrough",
    "top_k": 4,
    "score_threshold": 0.25,
    "min_probability": 0.125,
    "min_docs": 2,
    "metadata_mode": MetadataMode.LLM,
    "images": False,
    "keep_retrieval_score": False,
    "fusion": 0.25,
    "mmr": 0.75,
    "max_candidates": 7,
    "time_budget": 0.5,
    "evidence": True,
    "compress": "evidence",
}
SECRETS = {
    "api_key",
    "headers",
}  # in no dump: see tests/shared_core/options
NO_SERVER_TAKES = {"quantize", "adapter", "adapter_revision", "answers"}
OF_A_FILE = {"calibration"}  # see test_llama_index_calibration.py
LEFT_OUT = {*SECRETS, *NO_SERVER_TAKES, *OF_A_FILE}


def from_shared_reranker() -> Qwen3Rerank:
    of_reranker = {name: OPTIONS[name] for name in RerankerOptions.model_fields.keys() - LEFT_OUT}
    others = {name: OPTIONS[name] for name in OPTIONS.keys() - of_reranker.keys()}
    return Qwen3Rerank(reranker=Reranker(**of_reranker), **others)


def test_the_options_above_are_all_and_none_is_a_default() -> None:
    others = {"reranker", "callback_manager", "embed_model", "on_no_answer", *LEFT_OUT}
    assert {*OPTIONS, *others} == Qwen3Rerank.model_fields.keys()
    default = Qwen3Rerank()
    assert not [name for name, value in OPTIONS.items() if getattr(default, name) == value]


@pytest.mark.parametrize(
    "make", [lambda: Qwen3Rerank(**OPTIONS), from_shared_reranker], ids=["flat", "shared"]
)
@pytest.mark.parametrize(
    "through",
    [
        lambda given: Qwen3Rerank.from_dict(given.to_dict()),
        lambda given: Qwen3Rerank.from_json(given.to_json()),
        lambda given: Qwen3Rerank.from_dict(json.loads(given.model_dump_json())),
        lambda given: pickle.loads(pickle.dumps(given)),  # noqa: S301 - our own bytes
        copy.copy,
        copy.deepcopy,
        lambda given: given.model_copy(),
        lambda given: given.model_copy(deep=True),
        lambda given: given.with_options(),
    ],
    ids=["dict", "json", "model_json", "pickle", "copy", "deepcopy", "model_copy", "deep", "with"],
)
def test_every_option_survives(make: Any, through: Any) -> None:
    given = make()
    got = through(given)
    assert got is not given
    assert {name: getattr(got, name) for name in OPTIONS} == OPTIONS
    assert got.reranker.options == given.reranker.options
    assert not got.reranker.is_loaded
    assert given.to_dict() == got.to_dict()


def test_dumps_hold_options_only() -> None:
    dumped = json.loads(Qwen3Rerank(**OPTIONS).to_json())
    others = {"metadata_mode": "llm", "class_name": "Qwen3Rerank"}
    defaults = dict.fromkeys(NO_SERVER_TAKES | OF_A_FILE)
    defaults |= {"answers": ["yes", "no"], "on_no_answer": "keep"}
    assert dumped == {**OPTIONS, **others, **defaults}


def test_from_dict_accepts_a_reranker_with_the_same_options() -> None:
    given = Qwen3Rerank(**OPTIONS)
    got = Qwen3Rerank.from_dict(given.to_dict(), reranker=given.reranker)
    assert got.reranker is given.reranker


def test_copies_share_the_loaded_model(postprocessor: Qwen3Rerank) -> None:
    """A deep copy of a query engine must not hold a second copy of the weights."""
    for copied in (
        copy.copy(postprocessor),
        copy.deepcopy(postprocessor),
        copy.deepcopy([postprocessor])[0],
        postprocessor.model_copy(deep=True, update={"top_k": 1}),
    ):
        assert copied.reranker is postprocessor.reranker
        assert copied.callback_manager is postprocessor.callback_manager
    copied = copy.deepcopy(postprocessor)
    copied.top_k = 1
    assert postprocessor.top_k == 3


def test_a_pickle_works_and_carries_no_weights(
    checkpoint: Path, nodes: list[NodeWithScore]
) -> None:
    postprocessor = Qwen3Rerank(model=str(checkpoint), device="cpu", dtype="float32")
    before = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    pickled = pickle.dumps(postprocessor)
    assert len(pickled) < 5_000
    restored = pickle.loads(pickled)  # noqa: S301 - our own bytes
    assert not restored.reranker.is_loaded
    assert restored.postprocess_nodes(nodes, query_str=QUERY) == before
    assert postprocessor.postprocess_nodes(nodes, query_str=QUERY) == before


def test_pickling_leaves_the_living_object_whole(caplog: pytest.LogCaptureFixture) -> None:
    """`BaseComponent` deletes what it cannot pickle, from the object itself."""
    handler = LlamaDebugHandler(print_trace_on_end=False)
    handler.lock = threading.Lock()  # type: ignore[attr-defined]  # as tracing clients have
    manager = CallbackManager([handler])
    postprocessor = Qwen3Rerank(callback_manager=manager)
    with caplog.at_level(logging.WARNING):
        restored = pickle.loads(pickle.dumps(postprocessor))  # noqa: S301 - our own bytes
    assert caplog.records == []
    assert postprocessor.callback_manager is manager
    assert restored.callback_manager.handlers == []
    assert copy.deepcopy(postprocessor).callback_manager is manager


def test_a_function_is_not_lost_in_silence() -> None:
    postprocessor = Qwen3Rerank(instruction=lambda query: query)
    with pytest.raises(TypeError, match="the instruction is a function"):
        postprocessor.to_json()
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(postprocessor)
    assert Qwen3Rerank.from_dict(postprocessor.to_dict()).instruction is postprocessor.instruction
    named = pickle.loads(pickle.dumps(Qwen3Rerank(instruction=str.upper)))  # noqa: S301 - ours
    assert named.instruction("x") == "X"


def test_a_dialect_object_is_not_lost_in_silence() -> None:
    dialect = OwnDialect()
    given = Qwen3Rerank(dialect=dialect, base_url="http://localhost")
    for got in (
        Qwen3Rerank.from_dict(given.to_dict()),
        given.with_options(top_k=1),
        given.model_copy(update={"top_k": 1}, deep=True),
        copy.deepcopy(given),
    ):
        assert got.dialect is got.reranker.options.dialect is dialect
    pickled = pickle.loads(pickle.dumps(given))  # noqa: S301 - our own bytes
    assert isinstance(pickled.reranker.options.dialect, OwnDialect)
    with pytest.raises(TypeError, match=r"the dialect is an object \(OwnDialect\), which JSON"):
        given.to_json()
    with pytest.raises(ValueError, match=r"the dialect is an object \(OwnDialect\)"):
        given.model_dump_json()


def test_a_template_survives_json_and_pickle() -> None:
    given = Qwen3Rerank(instruction=PromptTemplate("Find: {query_str}"))
    for got in (
        Qwen3Rerank.from_json(given.to_json()),
        pickle.loads(pickle.dumps(given)),  # noqa: S301 - our own bytes
        copy.deepcopy(given),
    ):
        assert got.instruction == given.instruction
        assert got.instruction("x") == "Find: x"
