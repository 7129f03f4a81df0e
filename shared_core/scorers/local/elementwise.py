"""The element-wise work between the products: norms, rotations, additions, the gate.

The residual stream, norms and rotations are float32 whatever products compute in. A few channels of
a model are far larger than the others; see `finite` for those that float16 cannot hold.

Shapes: t tokens, w width of the model, h query heads, g key-value heads, r query heads per
key-value head, d width of a head, i inner width of the MLP.

Source: transformers ``models/qwen3/modeling_qwen3.py``, which the parity tests compare it with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name


@dataclass(frozen=True, slots=True)
class HeadShape:
    """The heads of a layer.

    Attributes:
        n_heads: Query heads, h.
        n_kv_heads: Key-value heads, g.
        width: Width of a head, d.
    """

    n_heads: int
    n_kv_heads: int
    width: int


class Elementwise(Protocol):
    """Protocol of the element-wise work. Norm weights are float32."""

    def normed(self, stream: Tensor, weight: Tensor) -> Tensor:
        """Return the root-mean-square norm of the residual stream, Shape (t, w), products' dtype.

        Args:
            stream: The residual stream, Shape (t, w) float32.
            weight: Shape (w,).
        """

    def heads(
        self,
        products: Sequence[Tensor],
        query_norm: Tensor,
        key_norm: Tensor,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries (t, h, d) and keys (t, g, d) after their norms, and values.

        Args:
            products: Queries (t, h·d), keys (t, g·d) and values (t, g·d).
            query_norm: Shape (d,).
            key_norm: Shape (d,).
            cos: Cosine of the rotations, Shape (t, 1, d / 2) float32.
            sin: Their sine.
        """

    def added(self, stream: Tensor, output: Tensor, weight: Tensor) -> Tensor:
        """Add an output, Shape (t, w), to the stream in place; return the norm of the sum."""

    def gated(self, gate: Tensor, up: Tensor) -> Tensor:
        """Return silu(gate) · up, each Shape (t, i); both may be overwritten."""


class PlainElementwise:
    """The element-wise work by torch's own operators, on every device.

    Args:
        shape: The heads.
        eps: The norms' ε.
        dtype: The dtype of the inputs of products.
    """

    def __init__(self, shape: HeadShape, eps: float, dtype: torch.dtype) -> None:
        self._shape, self._eps, self._dtype = shape, eps, dtype

    def normed(self, stream: Tensor, weight: Tensor) -> Tensor:
        """Return the norm of the residual stream; see `Elementwise.normed`."""
        return rms_norm(stream, weight, self._eps).to(self._dtype)

    def heads(
        self,
        products: Sequence[Tensor],
        query_norm: Tensor,
        key_norm: Tensor,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries, float32 like the keys, and values; see `Elementwise.heads`."""
        q, k, v = (finite(heads).view(len(heads), -1, self._shape.width) for heads in products)
        return self._rotated(q, query_norm, cos, sin), self._rotated(k, key_norm, cos, sin), v

    def added(self, stream: Tensor, output: Tensor, weight: Tensor) -> Tensor:
        """Add an output to the stream, return the norm; see `Elementwise.added`."""
        stream += finite(output)
        return self.normed(stream, weight)

    def gated(self, gate: Tensor, up: Tensor) -> Tensor:
        """Return silu(gate) · up; see `Elementwise.gated`."""
        return finite(F.silu(finite(gate)).mul_(finite(up)))

    def _rotated(self, heads: Tensor, weight: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return normed heads rotated by their positions' angles, Shape unchanged, float32."""
        x = rms_norm(heads.float(), weight, self._eps)
        half = self._shape.width // 2
        left, right = x[..., :half], x[..., half:]
        turned = torch.empty_like(x)
        torch.mul(left, cos, out=turned[..., :half]).addcmul_(right, sin, value=-1)
        torch.mul(right, cos, out=turned[..., half:]).addcmul_(left, sin)
        return turned


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return the root-mean-square norm over the last dimension, float32."""
    return F.rms_norm(x, weight.shape, weight, eps)


def finite(product: Tensor) -> Tensor:
    """Return a product, in place: infinite numbers of float16 become the largest that it holds.

    One infinite number would leave no margin. bfloat16 holds numbers as large as float32 does.
    """
    most = torch.finfo(torch.float16).max
    return product.clamp_(-most, most) if product.dtype == torch.float16 else product
