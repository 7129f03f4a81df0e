"""The JSON result of a run: every sample, and the facts needed to judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ran", "absent", "failed"]


class _Part(BaseModel):
    # Where scores are missing or no numbers, the difference is infinite: JSON has no word for it.
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), ser_json_inf_nan="strings")


class ModelFacts(_Part):
    """The checkpoint. ``values`` is "random" or "real"."""

    name: str
    values: Literal["random", "real"]
    dtype: str
    device: str
    parameters: int
    weight_bytes: int
    product_flops_per_token: int


class WorkloadFacts(_Part):
    """A workload's sizes; see `benchmarks.bench.workloads.Workload`."""

    name: str
    queries: int
    documents: int
    prompt_tokens: int
    unique_tokens: int
    longest_prompt: int
    product_flops: int
    attention_flops: int

    @property
    def described(self) -> str:
        """The workload's sizes as text."""
        documents = f"one query, {self.documents} documents"
        if self.queries > 1:
            documents = f"{self.queries} queries, {self.documents // self.queries} documents each"
        tokens = f"{self.prompt_tokens:,} prompt tokens, {self.unique_tokens:,} of them unique"
        return f"{documents}, {tokens}"


class ContestantFacts(_Part):
    """One contestant's settings, versions and status.

    Attributes:
        load_seconds: To read the checkpoint, everything being imported.
        first_call: Seconds of the first short call; some load in it.
        base_bytes: In memory with everything imported, before the checkpoint was read.
    """

    name: str
    kind: str
    ours: bool
    settings: dict[str, Any]
    status: Status
    reason: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    load_seconds: float | None = None
    first_call: float | None = None
    base_bytes: int | None = None


class Sample(_Part):
    """The time of one call."""

    workload: str
    contestant: str
    variant: dict[str, Any]
    round: int
    seconds: float
    peak_bytes: int


class Agreement(_Part):
    """The distance between a contestant's scores and the reference's, over all its calls.

    Attributes:
        largest: The largest difference of P(yes).
        correlation: The correlation of the margins with the reference's; ``None`` if either has
            no spread.
        order: Kendall's tau of the order with the reference's, of who is asked to be inexact.
        agrees: By ``order`` where it is asked for, else by the others; ``None`` if nothing tells.
    """

    workload: str
    contestant: str
    reference: str
    largest: float
    correlation: float | None
    order: float | None = None
    agrees: bool | None


class Result(_Part):
    """One run.

    Attributes:
        products: Operations per second of the device's own matrix products, by their sizes.
        skipped: Variants that were not tried, with reasons.
        overhead: Figures beside the model, see `benchmarks.bench.overhead`.
    """

    format: Literal[1] = 1
    made: str
    command: str
    machine: dict[str, Any]
    versions: dict[str, str]
    model: ModelFacts
    rounds: int
    products: dict[str, float]
    workloads: list[WorkloadFacts]
    contestants: list[ContestantFacts]
    samples: list[Sample]
    agreements: list[Agreement]
    skipped: list[str] = Field(default_factory=list)
    overhead: dict[str, Any] = Field(default_factory=dict)

    @property
    def peak_flops(self) -> float:
        """The fastest product measured; 0 if none was."""
        return max(self.products.values(), default=0.0)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Result:
        """Return the result that `write` wrote.

        Raises:
            ValidationError: The file is not a result.
        """
        return cls.model_validate_json(path.read_text("utf-8"))
