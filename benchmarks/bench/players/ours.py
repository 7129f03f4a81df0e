"""This library as a contestant, with any options of `Reranker`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from benchmarks.bench.players.base import Request, Setup


class OursPlayer:
    """`Reranker.score` for one query, one `rerank_many` for several."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._reranker: Any = None

    def imports(self) -> dict[str, str]:
        from shared_core import Reranker

        options: dict[str, Any] = {"dtype": self._setup.dtype, "device": self._setup.device}
        options |= {"max_length": self._setup.max_length, **self._setup.settings}
        if options.get("backend") == "vllm":
            import vllm

            import_module("shared_core.scorers.vllm")  # so that it is not timed as loading
            versions = {"vllm": vllm.__version__}
        else:
            import torch
            import transformers

            import_module("shared_core.scorers.local.scorer")  # likewise
            versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        self._reranker = Reranker(self._setup.model, **options)
        return {"qwen3-rerank": version("qwen3-rerank"), **versions}

    def load(self) -> None:
        scorer = self._reranker._runner.scorer
        if hasattr(scorer, "load"):  # the others load on their first use
            scorer.load()

    def prepare(self, variant: Mapping[str, Any]) -> None:
        if variant.get("cache") == "cold":
            # There is no public way to empty the engine's cache, and users need none.
            host = self._reranker._runner.scorer._host
            if host is None:  # nothing was scored yet
                return
            done = asyncio.run_coroutine_threadsafe(
                host._loaded.engine.reset_prefix_cache(), host.loop
            )
            done.result()

    def score(self, requests: Sequence[Request], _variant: Mapping[str, Any]) -> list[float]:
        if len(requests) == 1:
            (request,) = requests
            return list(self._reranker.score(request.query, request.documents))
        rankings = self._reranker.rerank_many(
            [request.query for request in requests], [request.documents for request in requests]
        )
        scores: list[float] = []
        for ranking in rankings:
            scores += [ranked.score for ranked in sorted(ranking, key=lambda ranked: ranked.index)]
        return scores
