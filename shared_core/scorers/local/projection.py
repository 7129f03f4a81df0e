"""Matrix products with fixed weights, which take nearly all of the time.

A projection is one linear layer, or several over the same input. It is made of layers that come one
by one, so that each is let go before the next is read. Shapes: t rows, i inputs, o outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

Product = Callable[[Tensor], Tensor]
"""A product with fixed weights, Shape (t, i) → (t, o), dtype kept."""

Projection = Callable[[Tensor], tuple[Tensor, ...]]
"""The products of an input with each of some layers, in their order."""

# The number of rows that packed weights are laid out for; others are nearly as fast.
_ROWS_HINT = 512
_ROWS_MULTIPLE = 16


class Linear(NamedTuple):
    """A linear layer: weight, Shape (o, i), and bias, Shape (o,)."""

    weight: Tensor
    bias: Tensor | None


def dense(layers: Iterable[Linear]) -> Joined:
    """Return the layers as one product of their weights as they are."""
    weights, biases = zip(*layers, strict=True)
    return Joined(Dense(joined(weights), joined_bias(biases)), [len(weight) for weight in weights])


def packed(layers: Iterable[Linear]) -> Apart:
    """Return the layers packed, on a CPU that can: see `can_pack`.

    Packed products are as fast one by one, and faster to load.
    """
    return Apart(list(map(Packed, layers)))


def best_projection(
    device: torch.device, dtype: torch.dtype
) -> Callable[[Iterable[Linear]], Projection]:
    """Return the constructor of the fastest exact projection on this device and dtype."""
    return packed if device.type == "cpu" and can_pack(dtype) else dense


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return tensors one after the other, in memory of their own."""
    return parts[0].clone() if len(parts) == 1 else torch.cat(list(parts))


def joined_bias(biases: Sequence[Tensor | None]) -> Tensor | None:
    """Return the biases one after the other; layers have all a bias, or none."""
    given = [bias for bias in biases if bias is not None]
    return joined(given) if given else None


class Apart:
    """Several layers over one input, computed separately."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = products

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of each layer, Shapes (t, o)."""
        return tuple(product(x) for product in self._products)


class Joined:
    """Several layers over one input, computed as one product, which reads the input once.

    Args:
        product: The product of all of them.
        sizes: The outputs of each.
    """

    def __init__(self, product: Product, sizes: Sequence[int]) -> None:
        self._product, self._sizes = product, list(sizes)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of each layer, Shapes (t, o), in shared memory."""
        return torch.split(self._product(x), self._sizes, dim=1)


class Dense:
    """A linear layer with unchanged weights.

    Args:
        weight: Shape (o, i).
        bias: Shape (o,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs, Shape (t, o)."""
        return F.linear(x, self._weight, self._bias)


class Packed:
    """A linear layer whose weights are packed once for oneDNN. CPU only.

    torch's compiler makes these calls too (torch ``_inductor/fx_passes/mkldnn_fusion.py``).
    """

    def __init__(self, layer: Linear) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight, _ROWS_HINT)
        self._bias = layer.bias

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs, Shape (t, o)."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            filled_up(x), self._weight, self._bias, "none", [], ""
        )
        return y[: len(x)]


def filled_up(x: Tensor) -> Tensor:
    """Return the rows, padded with zeros to a multiple of 16.

    oneDNN compiles and keeps a kernel for every number of rows that it meets, up to 1,024 of them.
    """
    missing = -len(x) % _ROWS_MULTIPLE
    return F.pad(x, (0, 0, 0, missing)) if missing else x.contiguous()


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether packed products work on this CPU and torch in the dtype, and are exact."""
    weight = torch.linspace(-1, 1, 64 * 32, dtype=torch.float32).view(64, 32).to(dtype)
    x = torch.linspace(-1, 1, 16 * 32, dtype=torch.float32).view(16, 32).to(dtype)
    try:
        found = Packed(Linear(weight, None))(x)
    except (RuntimeError, AttributeError, TypeError):  # no such instructions, or no such operator
        return False
    return bool(torch.allclose(found.float(), F.linear(x, weight).float(), rtol=1e-2, atol=1e-4))
