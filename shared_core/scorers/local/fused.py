"""The element-wise work on CUDA in four kernels, each of which reads and writes memory once.

They are written in Triton, which comes with torch for CUDA on Linux and runs on a CPU in its
interpreter (``TRITON_INTERPRET=1``). A program handles one token: a row of the stream, a few of its
heads, a piece of its gate. What is stored is rounded once, all in between is float32. In the
arguments, ``most`` is the largest number of the products' dtype.

Importing this module needs triton. Shapes as in ``elementwise.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from shared_core.scorers.local.elementwise import HeadShape, finite

_HEADS_OF_A_PROGRAM = 8
_GATES_OF_A_PROGRAM = 1024


@triton.jit
def _finite(values, most):
    return tl.minimum(tl.maximum(values, -most), most)


@triton.jit
def _normed_kernel(stream, weight, out, eps, width: tl.constexpr, block: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * width
    columns = tl.arange(0, block)
    inside = columns < width
    x = tl.load(stream + row + columns, mask=inside, other=0.0)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / width + eps)
    normed = x * scale * tl.load(weight + columns, mask=inside, other=0.0)
    tl.store(out + row + columns, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _added_kernel(
    stream, output, weight, out, eps, most, width: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * width
    columns = tl.arange(0, block)
    inside = columns < width
    added = tl.load(output + row + columns, mask=inside, other=0.0).to(tl.float32)
    x = tl.load(stream + row + columns, mask=inside, other=0.0) + _finite(added, most)
    tl.store(stream + row + columns, x, mask=inside)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / width + eps)
    normed = x * scale * tl.load(weight + columns, mask=inside, other=0.0)
    tl.store(out + row + columns, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _heads_kernel(
    query, key, query_norm, key_norm, cos, sin, query_out, key_out, query_step, key_step, eps,
    most, n_heads: tl.constexpr, n_kv_heads: tl.constexpr, half: tl.constexpr, block: tl.constexpr,
    heads_of_a_program: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * heads_of_a_program + tl.arange(0, heads_of_a_program)[:, None]
    column = tl.arange(0, block)[None, :]
    of_query = head < n_heads
    is_left = (column < half) & (head < n_heads + n_kv_heads)
    left_query, left_key = is_left & of_query, is_left & (head >= n_heads)

    at_query = query + token * query_step + head * 2 * half + column
    at_key = key + token * key_step + (head - n_heads) * 2 * half + column
    left = tl.load(at_query, mask=left_query, other=0.0).to(tl.float32)
    left += tl.load(at_key, mask=left_key, other=0.0).to(tl.float32)
    right = tl.load(at_query + half, mask=left_query, other=0.0).to(tl.float32)
    right += tl.load(at_key + half, mask=left_key, other=0.0).to(tl.float32)

    left, right = _finite(left, most), _finite(right, most)
    squares = tl.sum(left * left + right * right, axis=1)[:, None]
    scale = 1.0 / tl.sqrt(squares / (2 * half) + eps)
    inside = column < half
    weight = tl.where(
        of_query,
        tl.load(query_norm + column, mask=inside, other=0.0),
        tl.load(key_norm + column, mask=inside, other=0.0),
    )
    left *= scale * weight
    weight = tl.where(
        of_query,
        tl.load(query_norm + half + column, mask=inside, other=0.0),
        tl.load(key_norm + half + column, mask=inside, other=0.0),
    )
    right *= scale * weight

    c = tl.load(cos + token * half + column, mask=inside, other=0.0)
    s = tl.load(sin + token * half + column, mask=inside, other=0.0)
    turned_left = (left * c - right * s).to(query_out.dtype.element_ty)
    turned_right = (right * c + left * s).to(query_out.dtype.element_ty)
    to_query = query_out + (token * n_heads + head) * 2 * half + column
    to_key = key_out + (token * n_kv_heads + head - n_heads) * 2 * half + column
    tl.store(to_query, turned_left, mask=left_query)
    tl.store(to_query + half, turned_right, mask=left_query)
    tl.store(to_key, turned_left, mask=left_key)
    tl.store(to_key + half, turned_right, mask=left_key)


@triton.jit
def _gated_kernel(
    gate, up, out, gate_step, up_step, most, width: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    inside = columns < width
    x = tl.load(gate + token * gate_step + columns, mask=inside, other=0.0).to(tl.float32)
    y = tl.load(up + token * up_step + columns, mask=inside, other=0.0).to(tl.float32)
    x, y = _finite(x, most), _finite(y, most)
    product = _finite(x * tl.sigmoid(x) * y, most)
    tl.store(out + token * width + columns, product.to(out.dtype.element_ty), mask=inside)


class FusedElementwise:
    """The element-wise work by the kernels of this module; see `Elementwise`.

    Args:
        shape: The heads.
        eps: The norms' ε.
        dtype: The dtype of the inputs of products.
    """

    def __init__(self, shape: HeadShape, eps: float, dtype: torch.dtype) -> None:
        self._shape, self._eps, self._dtype = shape, eps, dtype
        self._most = torch.finfo(dtype).max

    def normed(self, stream: Tensor, weight: Tensor) -> Tensor:
        """Return the norm of the residual stream, which is contiguous."""
        t, width = stream.shape
        out = torch.empty_like(stream, dtype=self._dtype)
        _normed_kernel[(t,)](stream, weight, out, self._eps, width, triton.next_power_of_2(width))
        return out

    def added(self, stream: Tensor, output: Tensor, weight: Tensor) -> Tensor:
        """Add an output to the stream, return the norm; both are contiguous."""
        t, width = stream.shape
        out = torch.empty_like(stream, dtype=self._dtype)
        block = triton.next_power_of_2(width)
        _added_kernel[(t,)](
            stream, output.contiguous(), weight, out, self._eps, self._most, width, block
        )
        return out

    def heads(
        self,
        products: Sequence[Tensor],
        query_norm: Tensor,
        key_norm: Tensor,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries and keys in the dtype of the products, and the values' view."""
        query, key, value = products
        t, (h, g, d) = len(query), (self._shape.n_heads, self._shape.n_kv_heads, self._shape.width)
        query_out, key_out = query.new_empty(t, h, d), key.new_empty(t, g, d)
        _heads_kernel[(t, triton.cdiv(h + g, _HEADS_OF_A_PROGRAM))](
            query, key, query_norm, key_norm, cos, sin, query_out, key_out,
            query.stride(0), key.stride(0), self._eps, self._most,
            h, g, d // 2, triton.next_power_of_2(d // 2), _HEADS_OF_A_PROGRAM,
        )  # fmt: skip
        return query_out, key_out, finite(value).view(t, g, d)

    def gated(self, gate: Tensor, up: Tensor) -> Tensor:
        """Return silu(gate) · up, contiguous."""
        t, width = gate.shape
        out = gate.new_empty(t, width)
        _gated_kernel[(t, triton.cdiv(width, _GATES_OF_A_PROGRAM))](
            gate, up, out, gate.stride(0), up.stride(0), self._most, width, _GATES_OF_A_PROGRAM
        )
        return out
