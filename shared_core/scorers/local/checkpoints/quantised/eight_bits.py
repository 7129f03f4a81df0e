"""Weights in a dtype of eight bits, with a scale for each of their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from shared_core.scorers.local.checkpoints.quantised.blocks import Blocks
from shared_core.scorers.local.checkpoints.quantised.module import Module, Wanted, floats

FLOAT8, INT8 = "F8_E4M3", "I8"


@dataclass(frozen=True, slots=True)
class EightBits:
    """The `Layout` of ``weight`` times scales.

    Attributes:
        module: The layer.
        blocks: What has a scale of its own.
        scale: The part with the scales.
        zeros: The part with what stands for 0, in the weight's dtype; "" where that is 0.
    """

    module: Module
    blocks: Blocks
    scale: str
    zeros: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return self.blocks.shape

    def checked(self, by: str, dtype: str) -> EightBits:
        """Return this if the parts fit, else raise as `Module.check` does."""
        scales = floats(*self.blocks.stored_shapes())
        wanted = {"weight": Wanted({dtype}, [self.shape]), self.scale: scales}
        if self.zeros:
            wanted[self.zeros] = Wanted({dtype}, scales.shapes)
        self.module.check(by, wanted)
        return self

    def weight(self, outputs: Sequence[int] | None) -> Tensor:
        """Return these rows of the weight, or all. See `Layout`."""
        read = self.module.read
        return self.blocks.scaled(
            read("weight") if outputs is None else read("weight")[list(outputs)],
            read(self.scale),
            read(self.zeros) if self.zeros else None,
            outputs,
        )
