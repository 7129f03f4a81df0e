"""The vision tower: images to embeddings of the text model.

Every image attends to itself alone. As in the text model, the residual, norms and rotations are
float32 whatever the weights are.

Shapes: p patches, m tokens of p / merge², v width of the tower, w width of the text model, h heads,
d width of a head.

Source: transformers ``models/qwen3_vl/modeling_qwen3_vl.py`` (``Qwen3VLVisionModel``) and
``vision_utils.py``, which the parity tests compare it with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

from shared_core.scorers.local.checkpoints.vision_config import VisionConfig
from shared_core.scorers.local.projection import Projection
from shared_core.scorers.local.vision.pixels import Grid

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm: weight and bias, Shape (v,) float32."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the normed rows, Shape unchanged."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, _EPS)


@dataclass(frozen=True, slots=True)
class Block:
    """The weights of one layer."""

    attention_norm: Norm
    qkv: Projection
    output: Projection
    mlp_norm: Norm
    up: Projection
    down: Projection


@dataclass(frozen=True, slots=True)
class Merger:
    """The weights that make one token of the patches of its square.

    Attributes:
        norms_merged: Whether the norm is over the joined patches, and not over each.
    """

    norm: Norm
    up: Projection
    down: Projection
    norms_merged: bool


class VisionTower:
    """Computes the embeddings of images.

    Args:
        config: The sizes.
        embedding: The projection of a patch's values to its embedding.
        positions: The learned position embeddings of a square, Shape (side², v) float32.
        blocks: The layers, in order.
        mergers: What makes the embeddings of the last layer's output, then of the outputs of the
            layers ``config.deepstack_visual_indexes``.
        dtype: The dtype of the inputs of matrix products.
    """

    def __init__(
        self,
        config: VisionConfig,
        embedding: Projection,
        positions: Tensor,
        blocks: Sequence[Block],
        mergers: Sequence[Merger],
        *,
        dtype: torch.dtype,
    ) -> None:
        self._config, self._dtype, self._device = config, dtype, positions.device
        self._embedding, self._positions = embedding, positions
        self._blocks, self._mergers = blocks, mergers
        quarter = config.hidden_size // config.num_heads // 4
        powers = torch.arange(quarter, dtype=torch.float32, device=self._device) / quarter
        self._per_position = 1.0 / config.rope_theta**powers

    @torch.inference_mode()
    def __call__(self, values: Tensor, grid: Grid) -> list[Tensor]:
        """Return what an image adds to the text model: see `Merger`s of the tower.

        Args:
            values: The image's patches, Shape (p, values of a patch) float32.
            grid: Its size in tokens.

        Returns:
            Its embeddings, and what is added after the first text layers, one after the other; each
            of Shape (m, w) in the dtype of the products.
        """
        places = self._places(grid)
        residual = self._embedding(values.to(self._device, self._dtype))[0].float()
        residual = residual + self._resampled(places, grid)
        angles = (places[:, :, None].float() * self._per_position).flatten(1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        merged: dict[int, Tensor] = {}
        of_layer = dict(zip(self._config.deepstack_visual_indexes, self._mergers[1:], strict=True))
        for number, block in enumerate(self._blocks):
            residual = residual + self._mixed(block, residual, cos, sin)
            x = block.up(block.mlp_norm(residual).to(self._dtype))[0]
            residual = residual + block.down(F.gelu(x, approximate="tanh"))[0]
            if number in of_layer:
                merged[number] = self._merged(of_layer[number], residual)
        first = self._merged(self._mergers[0], residual)
        return [first, *(merged[number] for number in self._config.deepstack_visual_indexes)]

    def _places(self, grid: Grid) -> Tensor:
        """Return row and column of each patch, Shape (p, 2); a token's follow one another."""
        side = self._config.spatial_merge_size
        rows = torch.arange(grid.rows * side, device=self._device).view(-1, side)
        columns = torch.arange(grid.columns * side, device=self._device).view(-1, side)
        shape = (grid.rows, grid.columns, side, side)
        return torch.stack(
            [
                rows[:, None, :, None].expand(shape).flatten(),
                columns[None, :, None, :].expand(shape).flatten(),
            ],
            dim=1,
        )

    def _resampled(self, places: Tensor, grid: Grid) -> Tensor:
        """Return the position embeddings, bilinear between those learned, Shape (p, v) float32."""
        side = round(len(self._positions) ** 0.5)
        sizes = torch.tensor(grid, device=self._device) * self._config.spatial_merge_size
        sources = places.float() * (side - 1) / (sizes - 1).clamp(min=1)
        low = sources.floor()
        share = sources - low
        near = torch.stack([low, low + 1]).long().clamp(max=side - 1)  # (2, p, 2)
        weights = torch.stack([1 - share, share])
        found = torch.zeros_like(self._positions[:1]).repeat(len(places), 1)
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            learned = self._positions[near[i, :, 0] * side + near[j, :, 1]]
            found += learned * (weights[i, :, 0] * weights[j, :, 1])[:, None]
        return found

    def _mixed(self, block: Block, residual: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return what attention adds to the residual, Shape (p, v)."""
        x = block.attention_norm(residual).to(self._dtype)
        heads = block.qkv(x)[0].view(len(x), 3, self._config.num_heads, -1).unbind(1)
        query, key = (_rotated(part.float(), cos, sin).to(self._dtype) for part in heads[:2])
        query, key, value = (part.transpose(0, 1)[None] for part in (query, key, heads[2]))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return block.output(mixed[0].transpose(0, 1).flatten(1))[0]

    def _merged(self, merger: Merger, residual: Tensor) -> Tensor:
        """Return the embeddings of tokens, Shape (m, w) in the dtype of the products."""
        size = self._config.spatial_merge_size**2
        if merger.norms_merged:
            x = merger.norm(residual.view(len(residual) // size, -1))
        else:
            x = merger.norm(residual).view(len(residual) // size, -1)
        return merger.down(F.gelu(merger.up(x.to(self._dtype))[0]))[0]


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return heads rotated by the angles of rows and then of columns, Shape (p, h, d) float32."""
    left, right = heads.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
