"""Embeddings of token ids: the rows of a table, in float32. Shapes: t tokens, w width."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from shared_core.errors import ModelLoadError
from shared_core.scorers.local.checkpoints.tensors import EMBEDDING
from shared_core.scorers.local.checkpoints.weights import Weights, read_finite

Embedding = Callable[[Tensor], Tensor]
"""The embeddings of ids, Shape (t,) → (t, w) float32, on the ids' device."""


def read_embedding(weights: Weights, device: torch.device, dtype: torch.dtype) -> Embedding:
    """Return the embeddings of a model: on a CPU in their file, else on the device."""
    if device.type == "cpu":
        return MappedTable(weights)
    return Table(read_finite(weights, EMBEDDING, dtype).to(dtype).to(device))


class Table:
    """Rows of a table in memory, Shape (vocabulary, w)."""

    def __init__(self, table: Tensor) -> None:
        self._table = table

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the rows of the ids, Shape (t, w) float32."""
        return F.embedding(ids, self._table).float()


class MappedTable(Table):
    """Rows of a table that stays in its file, so that only rows that occur come into memory."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights.read(EMBEDDING))
        self._weights = weights

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the rows of the ids, Shape (t, w) float32.

        Raises:
            ModelLoadError: The file was written to, or a row is not finite.
        """
        self._weights.check_unchanged()
        rows = super().__call__(ids)
        self._weights.check_unchanged()
        if not torch.isfinite(torch.stack(torch.aminmax(rows))).all():
            wrong = sorted(set(ids[~torch.isfinite(rows).all(dim=1)].tolist()))
            raise ModelLoadError(
                f"{EMBEDDING} holds numbers that are not finite (NaN or infinite) for the tokens "
                f"{wrong[:5]}: the file is damaged, download it again"
            )
        return rows
