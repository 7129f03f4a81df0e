"""vLLM in its user's process, as its own example for Qwen3-Reranker has it.

Source: vllm ``examples/offline_inference/qwen3_reranker.py``: the pooling runner with the head made
of two rows, and `LLM.score` over the two halves of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bench.players.base import PREFIX, SUFFIX, TASK, Request, Setup


class VllmPlayer:
    """`LLM.score`; a variant's ``cache`` says whether the prefix cache is emptied before."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._engine: Any = None

    def imports(self) -> dict[str, str]:
        import torch
        import transformers
        import vllm

        return {
            "vllm": vllm.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def load(self) -> None:
        from vllm import LLM

        self._engine = LLM(
            model=self._setup.model,
            runner="pooling",
            dtype=self._setup.dtype,
            max_model_len=self._setup.max_length,
            enable_prefix_caching=True,
            disable_log_stats=True,
            hf_overrides={
                "architectures": ["Qwen3ForSequenceClassification"],
                "classifier_from_token": ["no", "yes"],
                "is_original_qwen3_reranker": True,
            },
            **self._setup.settings,
        )

    def prepare(self, variant: Mapping[str, Any]) -> None:
        if variant.get("cache") == "cold":
            self._engine.reset_prefix_cache()

    def score(self, requests: Sequence[Request], _variant: Mapping[str, Any]) -> list[float]:
        queries, documents = [], []
        for request in requests:
            query = f"{PREFIX}<Instruct>: {TASK}\n<Query>: {request.query}\n"
            queries += [query] * len(request.documents)
            documents += [f"<Document>: {document}{SUFFIX}" for document in request.documents]
        outputs = self._engine.score(queries, documents, use_tqdm=False)
        return [float(output.outputs.score) for output in outputs]
