"""What a forward reads besides weights and images: a pack's tokens, and the plan of attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a forward, on its device. Shapes: t tokens, n documents.

    Attributes:
        ids: Token ids, Shape (t,) int64.
        positions: Their positions in their own prompts, Shape (t, 1) int64.
        last: The place of each document's last token, Shape (n,) int64.
        plan: The plan of attention for all positions.
        plan_last: The same for the last ones alone.
    """

    ids: Tensor
    positions: Tensor
    last: Tensor
    plan: Any
    plan_last: Any
