"""Rerank LlamaIndex nodes with Qwen3-Reranker. Importing this loads no model, and no torch."""

from shared_core.errors import MissingDependencyError

try:
    from llama_index_qwen3_rerank.duplicates import Qwen3DropDuplicates
    from llama_index_qwen3_rerank.evaluator import Qwen3RelevancyEvaluator
    from llama_index_qwen3_rerank.postprocessor import Qwen3Rerank
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "llama_index":
        raise
    raise MissingDependencyError("llama_index_qwen3_rerank", "llama-index") from error

__all__ = ["Qwen3DropDuplicates", "Qwen3RelevancyEvaluator", "Qwen3Rerank"]
