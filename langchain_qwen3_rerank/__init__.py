"""Rerank LangChain documents with Qwen3-Reranker. Names are imported when asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("langchain_core") is None:
    from shared_core.errors import MissingDependencyError

    raise MissingDependencyError("langchain_qwen3_rerank", "langchain")

if TYPE_CHECKING:
    from langchain_qwen3_rerank.compressor import Qwen3Rerank
    from langchain_qwen3_rerank.cross_encoder import Qwen3CrossEncoder
    from langchain_qwen3_rerank.relevance import Qwen3Relevance, Relevance
    from langchain_qwen3_rerank.retriever import Qwen3RerankRetriever
else:
    # As langchain_core's own packages do it: what takes time are the base classes. And LangChain
    # before 1.3 has the cross encoder's elsewhere.
    _HOMES = {
        "Qwen3CrossEncoder": "cross_encoder",
        "Qwen3Relevance": "relevance",
        "Qwen3Rerank": "compressor",
        "Qwen3RerankRetriever": "retriever",
        "Relevance": "relevance",
    }

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "Qwen3CrossEncoder",
    "Qwen3Relevance",
    "Qwen3Rerank",
    "Qwen3RerankRetriever",
    "Relevance",
]
