"""Speed of the device at the model's matrix products, as the upper bound of throughput."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.bench.players.base import Setup

_SECONDS_PER_PRODUCT = 0.12


class ProductsPlayer:
    """A timer for each distinct matrix product of a layer; it scores nothing."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup

    def imports(self) -> dict[str, str]:
        import torch

        self._torch = torch
        return {"torch": torch.__version__}

    def measure(self, products: list[tuple[int, int]], tokens: int) -> Mapping[str, float]:
        """Return floating point operations per second of ``tokens × inputs × outputs`` products.

        Each is the best of its repetitions: what the device can do, not what it does on average.
        """
        torch = self._torch
        dtype = getattr(torch, self._setup.dtype)
        rates = {}
        for inputs, outputs in sorted(set(map(tuple, products))):
            left = torch.randn(tokens, inputs, device=self._setup.device).to(dtype)
            right = torch.randn(outputs, inputs, device=self._setup.device).to(dtype)
            best, spent = float("inf"), 0.0
            while spent < _SECONDS_PER_PRODUCT or spent < 3 * best:
                seconds = self._time(left, right)
                best, spent = min(best, seconds), spent + seconds
            rates[f"{tokens}x{inputs}x{outputs}"] = 2.0 * tokens * inputs * outputs / best
        return rates

    def _time(self, left: Any, right: Any) -> float:
        torch = self._torch
        with torch.inference_mode():
            if self._setup.device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            torch.nn.functional.linear(left, right)
            if self._setup.device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start
