"""The model card's recipe with transformers, batched as it is published.

Source: the model card's transformers usage, which is the README of QwenLM/Qwen3-Embedding at
f4ad0c4. Written after it: left padding to the longest of the batch, the whole vocabulary's logits
at every position, softmax over "no" and "yes" in the model's dtype.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bench.players.base import PREFIX, SUFFIX, TASK, Request, Setup, SkippedError, slices


class RecipePlayer:
    """The recipe; a variant's ``batch`` is the number of pairs of one forward."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._tokenizer: Any = None
        self._model: Any = None

    def imports(self) -> dict[str, str]:
        import torch
        import transformers
        from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

        # transformers imports on first use, which would be timed as loading.
        _ = AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM
        self._torch = torch
        return {"torch": torch.__version__, "transformers": transformers.__version__}

    def load(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        settings: dict[str, Any] = {}
        # The card recommends it; it is for GPUs, and seldom installed.
        if self._setup.device == "cuda" and importlib.util.find_spec("flash_attn"):
            settings["attn_implementation"] = "flash_attention_2"
        self._tokenizer = AutoTokenizer.from_pretrained(self._setup.model, padding_side="left")
        model: Any = AutoModelForCausalLM.from_pretrained(
            self._setup.model, dtype=getattr(self._torch, self._setup.dtype), **settings
        )
        self._model = model.to(self._setup.device).eval()
        self._prefix_tokens = self._tokenizer.encode(PREFIX, add_special_tokens=False)
        self._suffix_tokens = self._tokenizer.encode(SUFFIX, add_special_tokens=False)
        self._token_false_id = self._tokenizer.convert_tokens_to_ids("no")
        self._token_true_id = self._tokenizer.convert_tokens_to_ids("yes")

    def prepare(self, variant: Mapping[str, Any]) -> None:
        pass

    def score(self, requests: Sequence[Request], variant: Mapping[str, Any]) -> list[float]:
        pairs = [
            f"<Instruct>: {TASK}\n<Query>: {request.query}\n<Document>: {document}"
            for request in requests
            for document in request.documents
        ]
        scores: list[float] = []
        for part in slices(len(pairs), variant["batch"]):
            scores += self._compute_scores(self._process_inputs(pairs[part]))
        return scores

    def _process_inputs(self, pairs: list[str]) -> Any:
        room = self._setup.max_length - len(self._prefix_tokens) - len(self._suffix_tokens)
        inputs = self._tokenizer(
            pairs,
            padding=False,
            truncation="longest_first",
            return_attention_mask=False,
            max_length=room,
        )
        for i, tokens in enumerate(inputs["input_ids"]):
            inputs["input_ids"][i] = self._prefix_tokens + tokens + self._suffix_tokens
        self._check_memory(inputs["input_ids"])
        inputs = self._tokenizer.pad(inputs, padding=True, return_tensors="pt")
        return {key: value.to(self._model.device) for key, value in inputs.items()}

    def _compute_scores(self, inputs: Any) -> list[float]:
        torch = self._torch
        with torch.no_grad():
            logits = self._model(**inputs).logits[:, -1, :]
            true_vector = logits[:, self._token_true_id]
            false_vector = logits[:, self._token_false_id]
            pair = torch.stack([false_vector, true_vector], dim=1)
            pair = torch.nn.functional.log_softmax(pair, dim=1)
            scores: list[float] = pair[:, 1].exp().tolist()
        return scores

    def _check_memory(self, ids: list[list[int]]) -> None:
        """Raise `SkippedError` where the logits alone would fill the memory."""
        width = 4 if self._setup.dtype == "float32" else 2
        positions = len(ids) * max(map(len, ids))
        needed = positions * self._model.config.vocab_size * width
        available = self._available_memory()
        if needed > 0.5 * available:
            raise SkippedError(
                f"logits of {positions} positions take {needed / 2**30:.1f} GiB, "
                f"{available / 2**30:.1f} GiB are free"
            )

    def _available_memory(self) -> int:
        if self._setup.device == "cuda":
            free: int = self._torch.cuda.mem_get_info()[0]
            return free + int(self._torch.cuda.memory_reserved())
        import psutil

        return int(psutil.virtual_memory().available)
