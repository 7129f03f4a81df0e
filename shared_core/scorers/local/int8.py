"""Matrix products in eight bits: ``quantize="int8"``, on CPUs.

Weights have one scale per output, fixed when the model is loaded. Inputs have one scale per token,
found as they come: a token of large values, as the first of a prompt often is, then costs no other
token its accuracy. Both are symmetric around zero. Products are summed in 32 bits and scaled back
in float32; norms, attention, the residual and the head stay as they are.

Source: the scheme is W8A8 with dynamic per-token inputs, as in arXiv 2206.01861, section 3.2.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from shared_core.errors import ConfigurationError
from shared_core.scorers.local.projection import Joined, filled_up

_ROWS_HINT = 512
_INPUT_LIMIT = 127


def project_int8(*layers: nn.Linear) -> Joined:
    """Return the layers in eight bits; their common input is quantised once.

    Raises:
        ConfigurationError: The layers are not on a CPU, or it cannot.
    """
    device = layers[0].weight.device
    if device.type != "cpu":
        raise ConfigurationError(
            f'quantize="int8" is for CPUs, the model is on {device}: there bfloat16 is fast'
        )
    return Joined(layers, functools.partial(Int8, limit=weight_limit()))


class Int8:
    """A linear layer in eight bits.

    Args:
        weight: Shape (o, i), any floating dtype.
        bias: Shape (o,).
        limit: The largest quantised weight, `weight_limit` of this CPU.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, limit: int) -> None:
        weight = weight.float()
        scale = weight.abs().amax(dim=1).clamp_(min=1e-12) / limit
        rounded = (weight / scale[:, None]).round_().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(rounded, [_ROWS_HINT, weight.shape[1]])
        self._scale = scale
        self._zero_points = torch.zeros(len(scale), dtype=torch.int64)
        self._bias = None if bias is None else bias.float()

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
            largest = Int8(weight, None, limit)(x)
            smallest = Int8(-weight, None, limit)(x)
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
