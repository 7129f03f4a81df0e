"""A contestant in a process of its own: ``python -m benchmarks.bench.worker KIND SETUP``.

It reads one JSON object a line from standard input and answers each with one on standard output.
What libraries print goes to standard error. It ends when standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from benchmarks.bench.players.base import Request, Setup, SkippedError

_WARM_DOCUMENTS = 4


def make_player(kind: str, setup: Setup) -> Any:
    """Return a contestant by its kind; each imports only its own libraries.

    Raises:
        ValueError: There is none.
    """
    if kind == "recipe":
        from benchmarks.bench.players.recipe import RecipePlayer

        return RecipePlayer(setup)
    if kind == "sentence-transformers":
        from benchmarks.bench.players.cross_encoder import CrossEncoderPlayer

        return CrossEncoderPlayer(setup)
    if kind == "vllm":
        from benchmarks.bench.players.vllm_engine import VllmPlayer

        return VllmPlayer(setup)
    if kind == "ours":
        from benchmarks.bench.players.ours import OursPlayer

        return OursPlayer(setup)
    if kind == "products":
        from benchmarks.bench.players.products import ProductsPlayer

        return ProductsPlayer(setup)
    raise ValueError(f"there is no contestant of the kind {kind!r}")


class Worker:
    """Executes the orders of the parent process."""

    def __init__(self, kind: str, setup: Setup) -> None:
        self._player = make_player(kind, setup)
        self._in_process_cuda = setup.device == "cuda" and kind != "vllm"
        self._in_process_cuda &= setup.settings.get("backend") != "vllm"
        self._works: dict[str, list[Request]] = {}

    def obey(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one order."""
        kind = order["do"]
        if kind == "import":
            return {"versions": self._player.imports()}
        if kind == "load":
            start = time.perf_counter()
            self._player.load()
            loaded = time.perf_counter()
            self._player.score([Request("What is warm?", ["Tea is."])], order["variant"])
            return {"seconds": loaded - start, "first_call": time.perf_counter() - loaded}
        if kind == "work":
            self._works[order["name"]] = [
                Request(request["query"], request["documents"]) for request in order["requests"]
            ]
            return {}
        if kind == "warm":
            requests = self._works[order["name"]]
            short = [Request(r.query, r.documents[:_WARM_DOCUMENTS]) for r in requests[:1]]
            self._score(short, order["variant"])
            return {}
        if kind == "score":
            return self._score(self._works[order["name"]], order["variant"])
        if kind == "measure":
            return {"rates": self._player.measure(order["products"], order["tokens"])}
        raise ValueError(f"unknown order {kind!r}")

    def _score(self, requests: list[Request], variant: Mapping[str, Any]) -> dict[str, Any]:
        self._player.prepare(variant)
        if self._in_process_cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        try:
            scores = self._player.score(requests, variant)
        except SkippedError as error:
            return {"skipped": str(error)}
        if self._in_process_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        device_bytes = torch.cuda.max_memory_allocated() if self._in_process_cuda else None
        return {"seconds": seconds, "scores": scores, "device_bytes": device_bytes}


def serve(worker: Worker, orders: TextIO, answers: TextIO) -> None:
    """Answer every order; a failed order is answered with its error."""
    for line in orders:
        try:
            answer = worker.obey(json.loads(line))
        except Exception as error:  # noqa: BLE001  # reported; the bench goes on without this one
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve standard input, keeping standard output for the answers alone."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    kind, setup = sys.argv[1], Setup(**json.loads(sys.argv[2]))
    serve(Worker(kind, setup), sys.stdin, answers)


if __name__ == "__main__":
    main()
