"""Measurement in rounds: contestants take turns, in an order that rotates."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil

from benchmarks.bench.agreement import compare, is_lossy
from benchmarks.bench.contestants import Contestant
from benchmarks.bench.players.base import Setup
from benchmarks.bench.process import ContestantError, WorkerProcess
from benchmarks.bench.result import Agreement, ContestantFacts, Sample
from benchmarks.bench.shapes import Shape
from benchmarks.bench.workloads import Workload

# After the first round, variants slower than the contestant's best by more than this are given up.
_GIVE_UP = 1.25
# Memory that a process takes beside its weights: libraries, activations, vLLM's cache; and what is
# left to others.
_BESIDE_WEIGHTS = 1.5 * 2**30
_BESIDE_WEIGHTS_VLLM = 4 * 2**30
_SPARE = 1.0 * 2**30
# Rows that a device's products are measured with: a GPU is at its best from many on.
_PRODUCT_TOKENS = {"cpu": 2048, "cuda": 16384}

Variant = Mapping[str, Any]


class Rounds:
    """Runs contestants over workloads.

    Args:
        everybody: All contestants; those with a reason to be absent are only listed.
        setup: The common setup; its settings are replaced by the contestant's.
        shape: The checkpoint's sizes, for the matrix products.
        say: Called with a line for each thing done.
        timeout: Seconds that one call may take.
        trained: Whether the checkpoint's values are.
    """

    def __init__(
        self,
        everybody: Sequence[Contestant],
        setup: Setup,
        shape: Shape,
        say: Callable[[str], None],
        timeout: float,
        *,
        trained: bool,
    ) -> None:
        self._trained = trained
        self._setup, self._shape, self._say, self._timeout = setup, shape, say, timeout
        self._playing = [contestant for contestant in everybody if not contestant.absent]
        self._processes: dict[str, WorkerProcess] = {}
        self._sent: dict[str, set[str]] = {}
        self._peak = 0
        self._products_process: WorkerProcess | None = None
        self._scores: dict[tuple[str, str], list[list[float]]] = {}
        self.facts = {
            contestant.name: ContestantFacts(
                name=contestant.name,
                kind=contestant.kind,
                ours=contestant.is_ours,
                settings=dict(contestant.settings),
                status="absent" if contestant.absent else "ran",
                reason=contestant.absent,
            )
            for contestant in everybody
        }
        self.samples: list[Sample] = []
        self.agreements: list[Agreement] = []
        self.products: dict[str, float] = {}
        self.skipped: list[str] = []

    def run(self, workloads: Sequence[Workload], rounds: int) -> None:
        """Measure all rounds of all workloads; the attributes hold the results."""
        try:
            for workload in workloads:
                self._run_workload(workload, rounds)
        finally:
            for name in list(self._processes):
                self._end(name)
            if self._products_process is not None:
                self._products_process.end()

    def _run_workload(self, workload: Workload, rounds: int) -> None:
        variants = {contestant.name: list(contestant.variants) for contestant in self._playing}
        for number in range(rounds):
            self._measure_products()
            turn = number % max(1, len(self._playing))
            for contestant in self._playing[turn:] + self._playing[:turn]:
                self._take_turn(contestant, workload, number, variants[contestant.name])
            if number == 0:
                for contestant in self._playing:
                    name = contestant.name
                    variants[name] = self._worth_it(name, workload.name, variants[name])
        self._compare(workload.name, [len(request.documents) for request in workload.requests])

    def _take_turn(
        self, contestant: Contestant, workload: Workload, number: int, variants: list[Variant]
    ) -> None:
        try:
            worker = self._worker(contestant)
            if workload.name not in self._sent[contestant.name]:
                requests = [
                    {"query": request.query, "documents": list(request.documents)}
                    for request in workload.requests
                ]
                worker.ask(do="work", name=workload.name, requests=requests)
                self._sent[contestant.name].add(workload.name)
                # Not on the clock: first calls allocate, compile and read the weights.
                worker.ask(do="warm", name=workload.name, variant=variants[0])
            for variant in list(variants):
                seconds = self._call(worker, contestant.name, workload.name, variant)
                if seconds is None:
                    variants.remove(variant)
                    continue
                self.samples.append(
                    Sample(
                        workload=workload.name,
                        contestant=contestant.name,
                        variant=dict(variant),
                        round=number,
                        seconds=seconds,
                        peak_bytes=self._peak,
                    )
                )
                rate = workload.prompt_tokens / seconds
                self._say(
                    f"{workload.name}  round {number + 1}  {title(contestant.name, variant)}: "
                    f"{seconds:.3f} s, {rate:,.0f} prompt tokens/s"
                )
        except ContestantError as error:
            self._give_up(contestant, str(error))

    def _call(
        self, worker: WorkerProcess, name: str, workload: str, variant: Variant
    ) -> float | None:
        """Return the seconds of one call, or ``None`` if the contestant would not try it."""
        answer = worker.ask(do="score", name=workload, variant=variant)
        if "skipped" in answer:
            reason = f"{workload}, {title(name, variant)}: {answer['skipped']}"
            if reason not in self.skipped:
                self.skipped.append(reason)
                self._say(f"skipped: {reason}")
            return None
        self._scores.setdefault((workload, name), []).append(answer["scores"])
        self._peak = answer["device_bytes"] or worker.peak_bytes
        return float(answer["seconds"])

    def _worker(self, contestant: Contestant) -> WorkerProcess:
        """Return the contestant's process with its model loaded."""
        name = contestant.name
        if name in self._processes:
            self._processes[name] = worker = self._processes.pop(name)  # the last one used
            return worker
        self._make_room(contestant)
        self._say(f"loading {name}")
        setup = replace(self._setup, settings=dict(contestant.settings))
        worker = WorkerProcess(
            contestant.python, contestant.kind, setup, contestant.environment, self._timeout
        )
        self._processes[name], self._sent[name] = worker, set()
        facts = self.facts[name]
        facts.versions = worker.ask(do="import")["versions"]
        facts.base_bytes = worker.memory()
        loaded = worker.ask(do="load", variant=contestant.variants[0])
        facts.load_seconds, facts.first_call = loaded["seconds"], loaded["first_call"]
        return worker

    def _give_up(self, contestant: Contestant, reason: str) -> None:
        """Remove a contestant that failed."""
        self._say(f"{contestant.name} failed: {reason}")
        self.facts[contestant.name].status = "failed"
        self.facts[contestant.name].reason = reason
        self._playing = [other for other in self._playing if other is not contestant]
        self._end(contestant.name)

    def _end(self, name: str) -> None:
        worker = self._processes.pop(name, None)
        if worker is not None:
            worker.end()

    def _worth_it(self, name: str, workload: str, variants: list[Variant]) -> list[Variant]:
        """Return the variants that may still be the fastest, and all that differ by their cache."""
        seconds = {
            str(sample.variant): sample.seconds
            for sample in self.samples
            if (sample.contestant, sample.workload) == (name, workload)
        }
        best = min(seconds.values(), default=0.0)
        return [
            variant
            for variant in variants
            if "cache" in variant or seconds.get(str(dict(variant)), 0.0) <= _GIVE_UP * best
        ]

    def _compare(self, workload: str, documents: Sequence[int]) -> None:
        """Compare all scores with those of the recipe, or of the first contestant there is."""
        scored = [other for other in self._playing if (workload, other.name) in self._scores]
        if not scored:
            return
        first = next((other for other in scored if other.kind == "recipe"), scored[0])
        reference = self._scores[workload, first.name][0]
        for other in scored:
            agreement = compare(
                self._scores[workload, other.name],
                reference,
                documents,
                dtype=self._setup.dtype,
                lossy=is_lossy(other.settings),
                trained=self._trained,
                names=(workload, other.name, first.name),
            )
            self.agreements.append(agreement)
            mark = {True: "agrees", False: "DISAGREES", None: "has no order to compare"}
            self._say(
                f"{workload}  {other.name} {mark[agreement.agrees]} with {first.name}: "
                f"P(yes) within {agreement.largest:.2g}, correlation {agreement.correlation}"
                + (f", order τ {agreement.order:.2f}" if agreement.order is not None else "")
            )

    def _measure_products(self) -> None:
        """Measure the device's matrix products, once per round."""
        if self._products_process is None:
            environment = self._playing[0].environment if self._playing else {}
            self._products_process = WorkerProcess(
                sys.executable, "products", self._setup, environment, self._timeout
            )
            self._products_process.ask(do="import")
        answer = self._products_process.ask(
            do="measure",
            products=self._shape.products,
            tokens=_PRODUCT_TOKENS[self._setup.device],
        )
        for sizes, rate in answer["rates"].items():
            self.products[sizes] = max(rate, self.products.get(sizes, 0.0))
        self._say(f"matrix products: {max(answer['rates'].values()) / 1e9:,.0f} GFLOP/s at best")

    def _make_room(self, contestant: Contestant) -> None:
        """End the least recently used processes until this contestant's model fits in memory."""
        needed = _BESIDE_WEIGHTS_VLLM if contestant.is_vllm else _BESIDE_WEIGHTS
        if self._setup.device == "cpu":
            needed += self._shape.weight_bytes(self._setup.dtype)
        while self._processes and psutil.virtual_memory().available < needed + _SPARE:
            oldest = next(iter(self._processes))
            self._say(f"ending {oldest} for now: memory is short")
            self._end(oldest)


def title(name: str, variant: Variant) -> str:
    """Return the display name of a contestant's variant.

    >>> title("vLLM", {"cache": "cold"}), title("recipe", {"batch": 4}), title("ours", {})
    ('vLLM, cache cold', 'recipe, batch 4', 'ours')
    """
    return ", ".join([name, *(f"{key} {value}" for key, value in variant.items())])
