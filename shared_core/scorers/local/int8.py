"""Matrix products in eight bits: ``quantize="int8"``, on CPUs.

Weights have one scale per output, fixed when the model is loaded. Inputs have one scale per token,
found as they come: a token of large values, as the first of a prompt often is, then costs no other
token its accuracy. Both are symmetric around zero. Products are summed in 32 bits and scaled back
in float32; norms, attention, the residual and the head stay as they are.

Source: the scheme is W8A8 with dynamic per-token inputs, as in arXiv 2206.01861, section 3.2.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from shared_core.errors import ConfigurationError
from shared_core.scorers.local.projection import Joined, Linear, filled_up, joined, joined_bias

_ROWS_HINT = 512
_INPUT_LIMIT = 127
# Rows of a weight that are quantised at a time, so that they stay in a cache.
_PIECE = 256


class Quantised(NamedTuple):
    """A linear layer in eight bits.

    Attributes:
        weight: Shape (o, i) int8.
        scale: The value of one step of each output's weights, shape (o,) float32.
        bias: Shape (o,) float32.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None


def quantised(layer: Linear, limit: int) -> Quantised:
    """Return a layer of any floating dtype in eight bits, weights from -limit to limit."""
    weight = layer.weight
    rounded = torch.empty(weight.shape, dtype=torch.int8)
    scale = torch.empty(len(weight), dtype=torch.float32)
    for start in range(0, len(weight), _PIECE):
        some = slice(start, start + _PIECE)
        rows = weight[some].float()
        low, high = torch.aminmax(rows, dim=1)
        scale[some] = torch.maximum(-low, high).clamp_(min=1e-12) / limit
        rounded[some] = (rows / scale[some, None]).round_()
    return Quantised(rounded, scale, None if layer.bias is None else layer.bias.float())


def project_int8(layers: Iterable[Quantised]) -> Joined:
    """Return layers as one product in eight bits; their common input is quantised once."""
    weights, scales, biases = zip(*layers, strict=True)
    whole = Quantised(joined(weights), joined(scales), joined_bias(biases))
    return Joined(Int8(whole), [len(weight) for weight in weights])


class Int8:
    """The product of a layer in eight bits, whose weights are at most `weight_limit`."""

    def __init__(self, layer: Quantised) -> None:
        shape = [_ROWS_HINT, layer.weight.shape[1]]
        self._weight = torch.ops.onednn.qlinear_prepack(layer.weight, shape)
        self._scale, self._bias = layer.scale, layer.bias
        self._zero_points = torch.zeros(len(layer.scale), dtype=torch.int64)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs, Shape (t, o), in the dtype of ``x``."""
        x_float = x.float()
        scale = x_float.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12).div_(_INPUT_LIMIT)
        # Conversion to uint8 cuts the fraction off, so adding a half rounds.
        shifted = torch.addcmul(x_float.new_tensor(_INPUT_LIMIT + 1.5), x_float, scale.reciprocal())
        rounded = filled_up(shifted.to(torch.uint8))
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, _INPUT_LIMIT + 1, self._weight, self._scale, self._zero_points,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        y = y[: len(x)].mul_(scale)
        return (y if self._bias is None else y.add_(self._bias)).to(x.dtype)


@functools.cache
def weight_limit() -> int:
    """Return the largest quantised weight whose products this CPU sums without overflow.

    CPUs without VNNI instructions add pairs of products in 16 bits, which eight-bit inputs times
    eight-bit weights overflow; up to 64 cannot. So weights lose a bit there, and not inputs, which
    have larger outliers. The worst case is computed once, to see.

    Raises:
        ConfigurationError: This torch or this CPU has no such products.
    """
    for limit in (127, 64):
        weight = torch.ones(64, 256, dtype=torch.float32)
        x = torch.ones(16, 256, dtype=torch.float32)
        try:
            largest = Int8(quantised(Linear(weight, None), limit))(x)
            smallest = Int8(quantised(Linear(-weight, None), limit))(x)
        except (RuntimeError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f'quantize="int8" needs oneDNN\'s eight-bit products, which torch '
                f"{torch.__version__} does not have on this CPU: {error}"
            ) from error
        if torch.allclose(largest, torch.full_like(largest, 256.0)) and torch.allclose(
            smallest, -largest
        ):
            return limit
    raise ConfigurationError('quantize="int8": this CPU overflows in eight-bit products')
