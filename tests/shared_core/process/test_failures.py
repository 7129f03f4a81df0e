"""Failures: which are raised whatever ``on_error`` says, and which text they name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from support.tiny_server import tiny_server, unreachable_url

import langchain_qwen3_rerank
import llama_index_qwen3_rerank
from shared_core import (
    ConfigurationError,
    DeviceMemoryError,
    HubUnreachableError,
    MissingDependencyError,
    ModelLoadError,
    Reranker,
    RerankError,
    ServerStatusError,
    TextEncodingError,
    UnsupportedModelError,
)
from shared_core.scorers.local import scorer as transformers

DOCUMENTS = ["a", "b", "c"]
LONE = "half a \ud83d smile"


def core(options: dict[str, Any], documents: list[str]) -> Callable[[bool], Any]:
    made = Reranker(**options)
    return lambda awaited: (
        asyncio.run(made.arerank("query", documents))
        if awaited
        else made.rerank("query", documents)
    )


def langchain(options: dict[str, Any], documents: list[str]) -> Callable[[bool], Any]:
    made = langchain_qwen3_rerank.Qwen3Rerank(**options)
    given = [Document(page_content=text) for text in documents]
    return lambda awaited: (
        asyncio.run(made.acompress_documents(given, "query"))
        if awaited
        else made.compress_documents(given, "query")
    )


def llama_index(options: dict[str, Any], documents: list[str]) -> Callable[[bool], Any]:
    made = llama_index_qwen3_rerank.Qwen3Rerank(**options)
    # Nodes cannot hold what is no Unicode from the start, but can be given it later.
    given = [NodeWithScore(node=TextNode(text="x"), score=0.5) for _ in documents]
    for node, text in zip(given, documents, strict=True):
        node.node.text = text  # type: ignore[attr-defined]
    return lambda awaited: (
        asyncio.run(made.apostprocess_nodes(given, query_str="query"))
        if awaited
        else made.postprocess_nodes(given, query_str="query")
    )


MAKERS = [core, langchain, llama_index]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "/nowhere/at/all"}, ModelLoadError),
        ({"model": "tests/parity"}, ModelLoadError),
        ({"model": "tiny", "device": "cuda:99"}, ConfigurationError),
        ({"model": "tiny", "hub": "modelscope", "backend": "vllm"}, MissingDependencyError),
        ({"dialect": "jyna", "base_url": "http://127.0.0.1:1"}, ConfigurationError),
        ({"dialect": "jina", "template": "prompt", "model": "m"}, ConfigurationError),
    ],
    ids=["no folder", "no model", "device", "no package", "dialect", "template"],
)
def test_a_permanent_mistake_is_raised_whatever_on_error_says(
    make: Any, options: dict[str, Any], error: type[RerankError]
) -> None:
    if error is MissingDependencyError:
        try:
            import vllm  # noqa: F401
        except ModuleNotFoundError:
            pass
        else:
            pytest.skip("vllm is installed here: test-vllm's environment")
    call = make({**options, "on_error": "passthrough"}, DOCUMENTS)
    for awaited in (False, True):
        with pytest.raises(error) as raised:
            call(awaited)
        assert raised.value.is_permanent


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("status", "is_permanent"),
    [
        *((302, True), (401, True), (403, True), (404, True), (501, True)),
        *((400, False), (413, False), (500, False)),
    ],
)
def test_statuses_that_are_passed_through(make: Any, status: int, is_permanent: bool) -> None:
    with tiny_server(refuses=status) as server:
        options = {"base_url": server.url, "dialect": "jina", "template": "server-fixed"}
        call = make({**options, "model": "m", "on_error": "passthrough"}, DOCUMENTS)
        for awaited in (False, True):
            if is_permanent:
                with pytest.raises(ServerStatusError, match=f"answered {status}"):
                    call(awaited)
            else:
                assert f"answered {status}" in repr(call(awaited))


def test_what_may_pass_is_passed_through(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Reranker(base_url=unreachable_url(), max_retries=0, on_error="passthrough")
    assert "ServerUnreachableError" in str(remote.rerank("query", DOCUMENTS)[0].error)

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("no memory left")

    local = Reranker(str(checkpoint), device="cpu", on_error="passthrough")
    with monkeypatch.context() as patched:
        patched.setattr(transformers, "load_model", full)
        assert "DeviceMemoryError: the model" in str(local.rerank("query", DOCUMENTS)[0].error)
    with monkeypatch.context() as patched:
        patched.setattr(transformers, "_forward", full)
        assert "DeviceMemoryError: a single" in str(local.rerank("query", ["d"])[0].error)
    assert local.rerank("query", DOCUMENTS)[0].error is None
    kinds = [HubUnreachableError, DeviceMemoryError, UnsupportedModelError]
    assert [kind.is_permanent for kind in kinds] == [False, False, True]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("where", ["local", "windows", "remote"])
def test_a_bad_document_is_named_by_its_place(make: Any, where: str, checkpoint: Path) -> None:
    """Among equal ones before it, which are scored once."""
    with tiny_server() as server:
        options: dict[str, Any] = {"model": str(checkpoint), "on_error": "passthrough"}
        if where == "remote":
            options["base_url"] = server.url
        if where == "windows":
            options |= {"long_documents": "windows", "window_tokens": 32}
        call = make(options, ["same", "same", "same", LONE, LONE])
        for awaited in (False, True):
            with pytest.raises(TextEncodingError, match=r"^document 3 has a lone surrogate.*7"):
                call(awaited)


def test_a_bad_text_of_many_queries_is_named_by_its_query(tiny: Reranker) -> None:
    for queries, lists, instruction, name in (
        (["q", "q"], [["a"], ["a", "a", LONE]], None, "document 2 of query 1 has"),
        (["q", LONE], [["a"], ["a"]], None, "query 1 has"),
        (["q", "p"], [["a"], ["a"]], LONE, "the instruction of query 0 has"),
        ([LONE], [["a"]], None, "the query has"),
    ):
        with pytest.raises(TextEncodingError, match=f"^{name}"):
            tiny.rerank_many(queries, lists, instruction=instruction)
        with pytest.raises(TextEncodingError, match=f"^{name}"):
            asyncio.run(tiny.arerank_many(queries, lists, instruction=instruction))
    encoder = langchain_qwen3_rerank.Qwen3CrossEncoder(reranker=tiny)
    with pytest.raises(TextEncodingError, match=r"^the document of pair 2 has"):
        encoder.score([("p", "a"), ("q", "a"), ("p", LONE)])


async def test_the_service_names_a_bad_document_by_its_place() -> None:
    from qwen3_rerank.service.engine import Service
    from qwen3_rerank.service.failures import RefusedError
    from qwen3_rerank.service.settings import ServiceSettings
    from shared_core.scoring import ScoreRequest

    service = Service(ServiceSettings(model="tiny", device="cpu"))
    service.start()
    try:
        with pytest.raises(RefusedError, match=r"^document 3 has a lone surrogate") as refused:
            await service.score([ScoreRequest("q", "i", ["same", "same", "same", LONE])])
        assert refused.value.status == 422
    finally:
        await service.stop()
