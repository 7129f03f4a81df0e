"""Scales of a weight's blocks. Shapes: o outputs, i inputs, R × C blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks that a weight is divided into, the last of which may be smaller.

    Attributes:
        shape: Outputs and inputs of the weight.
        size: Rows and columns of a block.
    """

    shape: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, int], rows: int, columns: int | None) -> Blocks:
        """Return the blocks of a weight; 0 and ``None`` are all its rows, or columns."""
        return cls(shape, (rows or shape[0], columns or shape[1]))

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of blocks, (R, C)."""
        return ceil(self.shape[0] / self.size[0]), ceil(self.shape[1] / self.size[1])

    def stored_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes in which their scales are stored: without dimensions of 1, too."""
        shapes: list[tuple[int, ...]] = [self.counts]
        if self.counts[1] == 1:
            shapes.append(self.counts[:1])
        return [*shapes, ()] if self.counts == (1, 1) else shapes

    def scaled(
        self,
        numbers: Tensor,
        scales: Tensor,
        zeros: Tensor | None = None,
        outputs: Sequence[int] | None = None,
        groups: Tensor | None = None,
    ) -> Tensor:
        """Return ``(numbers − zeros) · scales``, Shape (o, i) float32.

        Args:
            numbers: Rows of the weight as they are stored, Shape (o, i).
            scales: R × C numbers.
            zeros: What stands for 0, R × C numbers.
            outputs: The outputs that the rows are; ``None`` is all.
            groups: For each input its column of the scales, Shape (i,); ``None``: neighbours.
        """
        weight = numbers.float()
        if zeros is not None:
            weight -= self._spread(zeros, outputs, groups)
        return weight.mul_(self._spread(scales, outputs, groups))

    def _spread(
        self, values: Tensor, outputs: Sequence[int] | None, groups: Tensor | None
    ) -> Tensor:
        values = values.reshape(self.counts).float()
        rows, columns = self.size
        if outputs is not None:
            values = values[[output // rows for output in outputs]]
        elif 1 < rows < self.shape[0]:
            values = values.repeat_interleave(rows, 0)[: self.shape[0]]
        if groups is not None:
            return values[:, groups]
        if columns == self.shape[1]:
            return values
        return values.repeat_interleave(columns, 1)[:, : self.shape[1]]
