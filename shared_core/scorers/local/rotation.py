"""Rotation of the weights, so that eight bits suffice and the model stays the same.

A few channels of a language model are far larger than the rest, and a token has one scale for all
of its channels. A rotation spreads them evenly. It costs nothing later: the residual stream is
turned as it enters and turned back as it leaves, and every weight in between is turned once, when
the model is loaded. The values that each head mixes are turned in the same way.

Source: QuaRot (arXiv 2404.00456), section 4, stages 1a and 1b, without its online rotations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class Rotation:
    """A fixed orthogonal matrix R of one width: random signs, then Hadamard matrices in blocks.

    Args:
        width: Rows and columns of R. Its greatest divisor that is a power of two is the block.
        device: The device of its use.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self.width = width
        block = width & -width
        small = 1 << (int(math.log2(block)) // 2)
        source = torch.Generator().manual_seed(0)
        signs = torch.randint(0, 2, (width,), generator=source) * 2 - 1
        self._signs = signs.float().to(device)
        # A Hadamard matrix of the block is the Kronecker product of two smaller ones.
        self._shape = (width // block, block // small, small)
        self._outer = _hadamard(block // small).to(device)
        self._inner = _hadamard(small).to(device)

    def turn(self, x: Tensor) -> Tensor:
        """Return ``x @ R``, Shape (…, width) float32."""
        return self._mixed(x.float() * self._signs).reshape(x.shape)

    def turn_back(self, x: Tensor) -> Tensor:
        """Return ``x @ R.T``, Shape (…, width) float32."""
        return self._mixed(x.float()).reshape(x.shape) * self._signs

    def _mixed(self, x: Tensor) -> Tensor:
        return self._outer @ (x.reshape(-1, *self._shape) @ self._inner)


def rotate_layer(layer: Any, stream: Rotation, heads: Rotation) -> None:
    """Rotate the weights of a layer for a rotated residual stream, in float32.

    Norm weights go into the products that follow them, since a norm with weights does not commute
    with a rotation; those of queries and keys stay.

    Args:
        layer: A ``Qwen3DecoderLayer``.
        stream: The rotation of the residual stream.
        heads: The rotation of what a head mixes, of a head's width.
    """
    attention, mlp = layer.self_attn, layer.mlp
    for norm, readers in (
        (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
        (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
    ):
        for reader in readers:
            _set(reader, stream.turn(reader.weight.float() * norm.weight.float()))
        norm.weight = nn.Parameter(torch.ones_like(norm.weight), requires_grad=False)

    width, d = layer.input_layernorm.weight.shape[0], heads.width
    values, output = attention.v_proj, attention.o_proj
    turned = heads.turn(values.weight.T.reshape(width, -1, d)).reshape(width, -1).T
    bias = values.bias if values.bias is None else heads.turn(values.bias.view(-1, d)).flatten()
    _set(values, turned.contiguous(), bias)
    _set(output, heads.turn(output.weight.view(width, -1, d)).reshape(width, -1))

    for writer in (output, mlp.down_proj):
        bias = writer.bias if writer.bias is None else stream.turn(writer.bias)
        _set(writer, stream.turn(writer.weight.T).T.contiguous(), bias)


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)


def _hadamard(size: int) -> Tensor:
    """Return the orthogonal Hadamard matrix of a power of two (Sylvester's), float32."""
    matrix = torch.ones(1, 1, dtype=torch.float32)
    while len(matrix) < size:
        top = torch.cat([matrix, matrix], dim=1)
        matrix = torch.cat([top, torch.cat([matrix, -matrix], dim=1)])
    return matrix / math.sqrt(size)
