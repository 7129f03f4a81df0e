"""Matrix products with fixed weights, where nearly all of the time goes.

Each takes one linear layer, or several over the same input, whose outputs then lie side by side:
one product then reads the input once. Shapes: t rows, i inputs, o outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

Projection = Callable[[Tensor], Tensor]
"""A product with fixed weights, Shape (t, i) → (t, o), dtype kept."""

# The number of rows that packed weights are laid out for; others are nearly as fast.
_ROWS_HINT = 512
_ROWS_MULTIPLE = 16


def project(*layers: nn.Linear) -> Projection:
    """Return the product of the layers, in the fastest form of the device that is as exact."""
    weight, bias = joined(layers)
    if weight.device.type == "cpu" and can_pack(weight.dtype):
        return Packed(weight, bias)
    return Dense(weight, bias)


class Dense:
    """Weights as they are.

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
    """Weights laid out once as oneDNN wants them, instead of in every call. CPU only.

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
    """Return the rows and as many of zeros as make their number a multiple of 16.

    oneDNN compiles and keeps a kernel for every number of rows that it meets, up to 1,024 of them.
    """
    missing = -len(x) % _ROWS_MULTIPLE
    return F.pad(x, (0, 0, 0, missing)) if missing else x.contiguous()


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this CPU and this torch compute packed products in the dtype, as exactly."""
    weight = torch.linspace(-1, 1, 64 * 32, dtype=torch.float32).view(64, 32).to(dtype)
    x = torch.linspace(-1, 1, 16 * 32, dtype=torch.float32).view(16, 32).to(dtype)
    try:
        packed = Packed(weight, None)(x)
    except (RuntimeError, AttributeError, TypeError):  # no such instructions, or no such operator
        return False
    return bool(torch.allclose(packed.float(), F.linear(x, weight).float(), rtol=1e-2, atol=1e-4))


def joined(layers: tuple[nn.Linear, ...]) -> tuple[Tensor, Tensor | None]:
    """Return the weights of the layers as one, Shape (o, i), and their bias; empties the layers.

    So that no more than one layer is in memory twice.
    """
    weights = [layer.weight.detach() for layer in layers]
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    for layer in layers:
        layer.weight = nn.Parameter(weights[0].new_empty(0), requires_grad=False)
    if len(layers) == 1:
        return weights[0], biases[0] if biases else None
    return torch.cat(weights), torch.cat(biases) if biases else None
