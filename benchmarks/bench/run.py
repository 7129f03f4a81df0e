"""Execution of a run, from its plan to its result."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.bench.contestants import Contestant
from benchmarks.bench.machine import machine, versions
from benchmarks.bench.overhead import overhead
from benchmarks.bench.players.base import Setup
from benchmarks.bench.result import ModelFacts, Result, WorkloadFacts
from benchmarks.bench.rounds import Rounds
from benchmarks.bench.shapes import Shape, shape_of
from benchmarks.bench.workloads import Workload, make_workload
from shared_core.prompt.encoding import PairEncoder

MAX_LENGTH = 8192
"""Tokens that the longest prompt may have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a run, checked and complete.

    Attributes:
        random: Whether its values are.
        workloads: Names or specifications.
        overhead_repeats: The number of timings of imports and loading; 0 leaves `overhead` out.
        timeout: Seconds that one call may take.
    """

    folder: Path
    name: str
    random: bool
    dtype: str
    device: str
    workloads: Sequence[str]
    rounds: int
    everybody: Sequence[Contestant]
    command: Sequence[str]
    overhead_repeats: int = 0
    timeout: float = 1800.0


def run(plan: Plan, say: Callable[[str], None]) -> Result:
    """Return the result of a plan; ``say`` is called with a line for each step."""
    tokenizer = Tokenizer.from_file(str(plan.folder / "tokenizer.json"))
    encoder = PairEncoder(tokenizer, MAX_LENGTH)
    shape = shape_of(plan.folder)
    workloads = [make_workload(name, encoder) for name in plan.workloads]
    setup = Setup(str(plan.folder), plan.dtype, plan.device, max_length=MAX_LENGTH)
    started = datetime.datetime.now(datetime.timezone.utc)
    measured = Rounds(plan.everybody, setup, shape, say, plan.timeout, trained=not plan.random)
    measured.run(workloads, plan.rounds)
    beside = {}
    if plan.overhead_repeats:
        beside = overhead(
            workloads,
            encoder,
            plan.everybody,
            setup,
            say,
            repeats=plan.overhead_repeats,
            timeout=plan.timeout,
        )
    return Result(
        made=started.isoformat(timespec="seconds"),
        command=shlex.join(plan.command),
        machine=machine(),
        versions=versions(),
        model=ModelFacts(
            name=plan.name,
            values="random" if plan.random else "real",
            dtype=plan.dtype,
            device=plan.device,
            parameters=shape.parameters,
            weight_bytes=shape.weight_bytes(plan.dtype),
            product_flops_per_token=shape.product_flops_per_token,
        ),
        rounds=plan.rounds,
        products=measured.products,
        workloads=[_facts(workload, shape) for workload in workloads],
        contestants=list(measured.facts.values()),
        samples=measured.samples,
        agreements=measured.agreements,
        skipped=measured.skipped,
        overhead=beside,
    )


def _facts(workload: Workload, shape: Shape) -> WorkloadFacts:
    return WorkloadFacts(
        name=workload.name,
        queries=len(workload.requests),
        documents=workload.documents,
        prompt_tokens=workload.prompt_tokens,
        unique_tokens=workload.unique_tokens,
        longest_prompt=workload.longest_prompt,
        product_flops=workload.unique_tokens * shape.product_flops_per_token,
        attention_flops=shape.attention_flops(workload.unique_pairs),
    )
