"""Rerank LangChain documents with Qwen3-Reranker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared_core.errors import MissingDependencyError

try:
    from langchain_qwen3_rerank.compressor import Qwen3Rerank
    from langchain_qwen3_rerank.cross_encoder import Qwen3CrossEncoder
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "langchain_core":
        raise
    raise MissingDependencyError("langchain_qwen3_rerank", "langchain") from error

if TYPE_CHECKING:
    from langchain_qwen3_rerank.retriever import Qwen3RerankRetriever
else:

    def __getattr__(name: str) -> Any:
        """Import the retriever when it is asked for: its base class doubles the import time."""
        if name == "Qwen3RerankRetriever":
            from langchain_qwen3_rerank.retriever import Qwen3RerankRetriever

            return Qwen3RerankRetriever
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Qwen3CrossEncoder", "Qwen3Rerank", "Qwen3RerankRetriever"]
