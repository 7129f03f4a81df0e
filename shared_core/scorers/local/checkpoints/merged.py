"""Weights with a low-rank adapter merged in while they are read; `lora` has the formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.lora import Adapter
from shared_core.scorers.local.checkpoints.tensors import CONVERTED_HEAD, EMBEDDING, HEAD
from shared_core.scorers.local.checkpoints.weights import Header, Weights

# Where the adapter repeats weights of its base, in what may be another dtype.
_SAME = 1e-2


class Merged:
    """The `Weights` of a base with an adapter merged in.

    Args:
        base: The base's weights.
        adapter: The adapter.
        ties: Whether the base's head is its embedding table.

    Attributes:
        ties: Whether it is one still: an adapter of either leaves the other as it was.
        is_causal: Whether the head is that of a language model; the adapter may have another.

    Raises:
        UnsupportedModelError: The adapter is not one of this base.
    """

    def __init__(self, base: Weights, adapter: Adapter, *, ties: bool) -> None:
        self._base, self._adapter, self._changes = base, adapter, adapter.changes
        headers = dict(base.headers)
        self._head = EMBEDDING if ties and EMBEDDING in headers else HEAD
        if self._head == EMBEDDING:
            headers[HEAD] = headers[EMBEDDING]
        if adapter.config.is_classifier and CONVERTED_HEAD in self._changes:
            headers.setdefault(CONVERTED_HEAD, Header("F32", (1, headers[EMBEDDING].shape[-1])))
            headers.pop(HEAD, None)
        self.is_causal = CONVERTED_HEAD not in headers
        adapter.check(headers)
        self.ties = ties and not self._changes.keys() & {EMBEDDING, HEAD}
        if ties and self.ties and HEAD not in base.headers:
            headers.pop(HEAD, None)
        self._headers = {
            name: Header("F32", header.shape) if name in self._changes else header
            for name, header in headers.items()
        }

    @property
    def headers(self) -> Mapping[str, Header]:
        """Dtype and shape of every tensor; merged ones are float32."""
        return self._headers

    def read(self, name: str) -> Tensor:
        """Return a tensor, merged if the adapter changes it."""
        if name in self._changes:
            return self._merged(name, None)
        return self._base.read(self._source(name))

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        """Return rows of a tensor, Shape (places, …) float32."""
        if name in self._changes:
            return self._merged(name, places)
        return self._base.rows(self._source(name), places)

    def check_unchanged(self) -> None:
        """Raise if a file of the base was written to; the adapter's is read to its end at once."""
        self._base.check_unchanged()

    def _source(self, name: str) -> str:
        return self._head if name == HEAD else name

    def _merged(self, name: str, places: Sequence[int] | None) -> Tensor:
        change, read = self._changes[name], self._adapter.rows
        if change.factors is None:
            return read(change.whole, places)
        source = self._source(name)
        if places is None:
            weight = self._base.read(source).float()
        else:
            weight = self._base.rows(source, places)
        if change.copy:
            self._check_copy(name, weight, read(change.copy, places))
        a, b = change.factors
        if change.is_embedding:
            merged = weight.addmm(
                read(a, places, across=True), read(b, across=True), alpha=change.scale
            )
        else:
            merged = weight.addmm(read(b, places), read(a), alpha=change.scale)
        if change.lengths:
            merged *= (read(change.lengths, places) / merged.norm(dim=1))[:, None]
        return merged

    def _check_copy(self, name: str, weight: Tensor, copy: Tensor) -> None:
        if not torch.allclose(weight, copy, rtol=_SAME, atol=_SAME * float(weight.abs().max())):
            raise UnsupportedModelError(
                f"{self._adapter} has a copy of its base's {name} that differs from it: it was "
                "trained on another base"
            )
