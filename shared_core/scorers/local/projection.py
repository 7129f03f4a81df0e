"""Matrix products with fixed weights, which take nearly all of the time.

A projection is one linear layer, or several over the same input. Shapes: t rows, i inputs, o
outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

Product = Callable[[Tensor], Tensor]
"""A product with fixed weights, Shape (t, i) → (t, o), dtype kept."""

Projection = Callable[[Tensor], tuple[Tensor, ...]]
"""The products of an input with each of some layers, in their order."""

# The number of rows that packed weights are laid out for; others are nearly as fast.
_ROWS_HINT = 512
_ROWS_MULTIPLE = 16


def project(*layers: nn.Linear) -> Projection:
    """Return the layers in the fastest form of the device that is equally exact.

    Packed products are as fast one by one, and faster to load. Elsewhere fewer products are better.
    """
    weight = layers[0].weight
    if weight.device.type == "cpu" and can_pack(weight.dtype):
        return Apart([Packed(*taken(layer)) for layer in layers])
    return Joined(layers, Dense)


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
        layers: The layers, which are emptied.
        product: Makes the product of a weight and a bias.
    """

    def __init__(
        self, layers: Sequence[nn.Linear], product: Callable[[Tensor, Tensor | None], Product]
    ) -> None:
        self._sizes = [layer.out_features for layer in layers]
        weights, biases = zip(*(taken(layer) for layer in layers), strict=True)
        bias = None if biases[0] is None else torch.cat(biases)
        self._product = product(weights[0] if len(layers) == 1 else torch.cat(weights), bias)

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

    Takes what `Dense` takes. torch's compiler makes these calls too (torch
    ``_inductor/fx_passes/mkldnn_fusion.py``).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
        self._bias = bias

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
        packed = Packed(weight, None)(x)
    except (RuntimeError, AttributeError, TypeError):  # no such instructions, or no such operator
        return False
    return bool(torch.allclose(packed.float(), F.linear(x, weight).float(), rtol=1e-2, atol=1e-4))


def taken(layer: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Move a layer's weight, Shape (o, i), and bias out of the layer.

    So that no more than a projection is in memory twice.
    """
    weight, bias = layer.weight.detach(), layer.bias
    layer.weight = nn.Parameter(weight.new_empty(0), requires_grad=False)
    return weight, None if bias is None else bias.detach()
