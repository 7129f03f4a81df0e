"""The size and cost of a batch, before it starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from qwen3_rerank.batch.preparing import Prepared
from qwen3_rerank.batch.sampling import Sample


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A job's size, counted, and its cost, estimated from a sample of it.

    Attributes:
        rows: Rows of the input.
        blocks: Blocks that they are divided into.
        blocks_done: The blocks that an earlier run has finished.
        rows_left: Rows that are left.
        pairs_left: Pairs in these; an estimate where a row is a list.
        workers: The number of workers.
        tokens_per_pair: Prompt tokens, on average over the sample; ``None`` without a tokenizer.
        tokens_left: Prompt tokens left, estimated.
        pairs_per_second: The speed of one worker on the sample; ``None`` if it was not measured.
        tokens_per_second: The same in prompt tokens.
        seconds_left: An estimate: what is left, by that speed, by ``workers``.
        sample_pairs: Pairs that were tokenised for it.
        scored_pairs: Pairs that were scored for it, by the clock.
        notes: Further remarks, in words.
    """

    rows: int
    blocks: int
    blocks_done: int
    rows_left: int
    pairs_left: int
    workers: int
    tokens_per_pair: float | None = None
    tokens_left: int | None = None
    pairs_per_second: float | None = None
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    sample_pairs: int = 0
    scored_pairs: int = 0
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


def make_plan(prepared: Prepared, sample: Sample | None, workers: int) -> BatchPlan:
    """Return the plan of a job."""
    rows_left = pairs_left = sum(block.rows for block in prepared.left)
    plan = BatchPlan(
        rows=sum(block.rows for block in prepared.blocks),
        blocks=len(prepared.blocks),
        blocks_done=len(prepared.done),
        rows_left=rows_left,
        pairs_left=pairs_left,
        workers=workers,
        notes=prepared.notes,
    )
    if sample is None or not sample.rows:
        return plan
    if prepared.source.shape.layout == "lists":
        pairs_left = round(rows_left * sample.pairs / sample.rows)
    mean = sample.tokens_per_pair
    tokens_left = None if mean is None else round(pairs_left * mean)
    speed = sample.scored / sample.seconds if sample.seconds else None
    token_speed = None
    seconds = pairs_left / speed if speed else None
    if speed and sample.scored_tokens and tokens_left is not None:
        token_speed = sample.scored_tokens / sample.seconds
        seconds = tokens_left / token_speed
    return replace(
        plan,
        pairs_left=pairs_left,
        tokens_per_pair=mean,
        tokens_left=tokens_left,
        pairs_per_second=speed,
        tokens_per_second=token_speed,
        seconds_left=None if seconds is None else seconds / workers,
        sample_pairs=sample.pairs,
        scored_pairs=sample.scored,
    )
