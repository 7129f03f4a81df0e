"""Rotation of the weights, so that eight bits suffice and the model stays the same.

A few channels of a language model are far larger than the rest, and a token has one scale for all
of its channels. A rotation spreads them evenly. It costs nothing later: the residual stream is
turned as it enters and turned back as it leaves, and every weight in between is turned once, when
the model is loaded. The values that each head mixes are turned in the same way.

Source: QuaRot (arXiv 2404.00456), section 4, stages 1a and 1b, without its online rotations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from shared_core.scorers.local.projection import Linear

# Rows of a weight that are turned at a time.
_PIECE = 256


class Rotation:
    """A fixed orthogonal matrix R of one width: random signs, then Hadamard matrices in blocks.

    Attributes:
        signs: 1 or −1 for each row of R, Shape (width,) float32.

    Args:
        width: Rows and columns of R. Its greatest divisor that is a power of two is the block.
        device: The device of its use.
        signs: Signs that were saved, Shape (width,) float32; ``None`` draws the usual ones.
    """

    def __init__(self, width: int, device: torch.device, signs: Tensor | None = None) -> None:
        self.width = width
        block = width & -width
        small = 1 << (int(math.log2(block)) // 2)
        if signs is None:
            source = torch.Generator().manual_seed(0)
            signs = torch.randint(0, 2, (width,), generator=source) * 2 - 1
        self.signs = signs.float().to(device)
        # A Hadamard matrix of the block is the Kronecker product of two smaller ones.
        self._shape = (width // block, block // small, small)
        self._outer = _hadamard(block // small).to(device)
        self._inner = _hadamard(small).to(device)

    def turn(self, x: Tensor, weighing: Tensor | None = None) -> Tensor:
        """Return ``x @ R``, Shape (…, width) float32; with the columns of x weighed before."""
        signs = self.signs if weighing is None else self.signs * weighing
        rows = x.reshape(-1, self.width)
        turned = torch.empty(rows.shape, dtype=torch.float32, device=x.device)
        for some in _pieces(len(rows)):
            turned[some] = self._mixed(rows[some].float() * signs).view(-1, self.width)
        return turned.view(x.shape)

    def turn_back(self, x: Tensor) -> Tensor:
        """Return ``x @ R.T``, Shape (…, width) float32."""
        return self._mixed(x.float()).reshape(x.shape) * self.signs

    def turn_rows(self, x: Tensor) -> Tensor:
        """Return ``R.T @ x``, Shape (width, n) float32."""
        turned = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        n_outer, n_inner = self._shape[1:]
        for some in _pieces(x.shape[1]):
            signed = x[:, some].float() * self.signs[:, None]
            inner = self._inner @ signed.view(-1, n_inner, signed.shape[1])
            turned[:, some] = (self._outer @ inner.view(self._shape[0], n_outer, -1)).view(
                signed.shape
            )
        return turned

    def _mixed(self, x: Tensor) -> Tensor:
        return self._outer @ (x.reshape(-1, *self._shape) @ self._inner)


class LayerRotation:
    """Rotates the linear layers of a decoder layer for a rotated residual stream, in float32.

    Norm weights go into the products that follow them, since a norm with weights does not commute
    with a rotation; those of queries and keys stay.

    Args:
        stream: The rotation of the residual stream.
        heads: The rotation of what a head mixes, of a head's width.
    """

    def __init__(self, stream: Rotation, heads: Rotation) -> None:
        self._stream, self._heads = stream, heads

    def reader(self, layer: Linear, norm: Tensor) -> Linear:
        """Return a layer that reads the stream after a norm of this weight, Shape (width,)."""
        return Linear(self._stream.turn(layer.weight, norm.float()), layer.bias)

    def values(self, layer: Linear, norm: Tensor) -> Linear:
        """Return the layer of the values: it reads the stream, and its heads' outputs are mixed."""
        weight, bias = self.reader(layer, norm)
        d = self._heads.width
        turned = torch.cat([self._heads.turn_rows(head) for head in torch.split(weight, d)])
        if bias is not None:
            bias = self._heads.turn(bias.view(-1, d)).flatten()
        return Linear(turned, bias)

    def output(self, layer: Linear) -> Linear:
        """Return the layer that reads the mixed values and writes to the stream."""
        width, d = len(layer.weight), self._heads.width
        turned = self._heads.turn(layer.weight.view(width, -1, d)).reshape(width, -1)
        return self.writer(Linear(turned, layer.bias))

    def writer(self, layer: Linear) -> Linear:
        """Return a layer that writes to the stream."""
        bias = layer.bias if layer.bias is None else self._stream.turn(layer.bias)
        return Linear(self._stream.turn_rows(layer.weight), bias)


def _pieces(size: int) -> Iterator[slice]:
    """Return slices of so many rows that what is computed with them stays in a cache."""
    return (slice(start, start + _PIECE) for start in range(0, size, _PIECE))


def _hadamard(size: int) -> Tensor:
    """Return the orthogonal Hadamard matrix of a power of two (Sylvester's), float32."""
    matrix = torch.ones(1, 1, dtype=torch.float32)
    while len(matrix) < size:
        top = torch.cat([matrix, matrix], dim=1)
        matrix = torch.cat([top, torch.cat([matrix, -matrix], dim=1)])
    return matrix / math.sqrt(size)
