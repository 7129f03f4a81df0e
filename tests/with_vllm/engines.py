"""Rerankers over vLLM engines that start in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared_core import Reranker


def vllm_reranker(model: Path | str, **options: Any) -> Reranker:
    """Return a reranker over an engine for which nothing is compiled."""
    engine_args = {"enforce_eager": True, **options.pop("engine_args", {})}
    options = {"dtype": "float32", "max_length": 1024, **options}
    return Reranker(str(model), backend="vllm", engine_args=engine_args, **options)
