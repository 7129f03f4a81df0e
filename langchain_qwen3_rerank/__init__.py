"""Rerank LangChain documents with Qwen3-Reranker."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shared_core.errors import MissingDependencyError

try:
    from langchain_qwen3_rerank.compressor import Qwen3Rerank
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "langchain_core":
        raise
    raise MissingDependencyError("langchain_qwen3_rerank", "langchain") from error

if TYPE_CHECKING:
    from langchain_qwen3_rerank.cross_encoder import Qwen3CrossEncoder
    from langchain_qwen3_rerank.retriever import Qwen3RerankRetriever
else:
    # Imported when asked for: the retriever's base class doubles the import time, and LangChain
    # before 1.3 has the cross encoder's elsewhere.
    _LAZY = {"Qwen3CrossEncoder": "cross_encoder", "Qwen3RerankRetriever": "retriever"}

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Qwen3CrossEncoder", "Qwen3Rerank", "Qwen3RerankRetriever"]
