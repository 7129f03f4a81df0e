"""This library as a contestant, with any options of `Reranker`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from benchmarks.bench.players.base import Request, Setup

# What a device has beside the plain forward: the module that chooses it, the name of the choice,
# and a choice of none.
_PARTS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "graphs": ("loading", "with_graphs", lambda backbone: backbone),
    "kernels": ("elementwise_trial", "tried", lambda _make, plain, *_: plain),
}


class OursPlayer:
    """One call of `Reranker.score_pairs`.

    Among its settings may be ``without``, the names of parts that are not to be chosen.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._reranker: Any = None
        self._scorer: Any = None

    def imports(self) -> dict[str, str]:
        from shared_core import Reranker, RerankerOptions
        from shared_core.scorers.choose import make_scorer

        options: dict[str, Any] = {"dtype": self._setup.dtype, "device": self._setup.device}
        options |= {"max_length": self._setup.max_length, **self._setup.settings}
        for part in options.pop("without", ()):
            module, name, choice = _PARTS[part]
            setattr(import_module(f"shared_core.scorers.local.{module}"), name, choice)
        if options.get("backend") == "vllm":
            import vllm

            import_module("shared_core.scorers.vllm")  # so that it is not timed as loading
            versions = {"vllm": vllm.__version__}
        else:
            import torch
            import transformers

            import_module("shared_core.scorers.local.scorer")  # likewise
            versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        reranker_options = RerankerOptions(model=self._setup.model, **options)
        self._scorer = make_scorer(reranker_options)
        self._reranker = Reranker.from_options(reranker_options, scorer=self._scorer)
        return {"qwen3-rerank": version("qwen3-rerank"), **versions}

    def load(self) -> None:
        self._reranker.load()

    def prepare(self, variant: Mapping[str, Any]) -> None:
        if variant.get("cache") == "cold":
            self._scorer.reset_prefix_cache()

    def score(self, requests: Sequence[Request], _variant: Mapping[str, Any]) -> list[float]:
        judged = self._reranker.score_pairs(
            [(request.query, text) for request in requests for text in request.documents]
        )
        return [one.score for one in judged]
