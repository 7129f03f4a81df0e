"""Building of a vision tower from weights, layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor

from shared_core.scorers.local.checkpoints.vision_config import VisionConfig
from shared_core.scorers.local.checkpoints.vision_weights import VISUAL
from shared_core.scorers.local.checkpoints.weights import Weights, read_finite
from shared_core.scorers.local.memory import give_back
from shared_core.scorers.local.projection import Linear, Projection, best_projection
from shared_core.scorers.local.vision.tower import Block, Merger, Norm, VisionTower


def build_tower(
    config: VisionConfig, weights: Weights, device: torch.device, dtype: torch.dtype
) -> VisionTower:
    """Return the vision tower, made layer by layer.

    Raises:
        ModelLoadError: A weight cannot be read, is not finite, or too large for the dtype.
    """
    parts = _Parts(weights, device, dtype)
    blocks = []
    for number in range(config.depth):
        block = f"blocks.{number}."
        blocks.append(
            Block(
                attention_norm=parts.norm(f"{block}norm1"),
                qkv=parts.projection(f"{block}attn.qkv"),
                output=parts.projection(f"{block}attn.proj"),
                mlp_norm=parts.norm(f"{block}norm2"),
                up=parts.projection(f"{block}mlp.linear_fc1"),
                down=parts.projection(f"{block}mlp.linear_fc2"),
            )
        )
        give_back()
    deep = [f"deepstack_merger_list.{n}." for n in range(len(config.deepstack_visual_indexes))]
    mergers = [
        Merger(
            norm=parts.norm(f"{merger}norm"),
            up=parts.projection(f"{merger}linear_fc1"),
            down=parts.projection(f"{merger}linear_fc2"),
            norms_merged=merger in deep,
        )
        for merger in ("merger.", *deep)
    ]
    return VisionTower(
        config,
        parts.projection("patch_embed.proj"),
        parts.float32("pos_embed.weight"),
        blocks,
        mergers,
        dtype=dtype,
    )


class _Parts:
    """The parts of the tower, in the form that computes them."""

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
        self._weights, self._device, self._dtype = weights, device, dtype
        self._project = best_projection(device, dtype)

    def float32(self, name: str) -> Tensor:
        return read_finite(self._weights, VISUAL + name).float().to(self._device)

    def norm(self, name: str) -> Norm:
        return Norm(self.float32(f"{name}.weight"), self.float32(f"{name}.bias"))

    def projection(self, name: str) -> Projection:
        weight, bias = (
            read_finite(self._weights, f"{VISUAL}{name}.{part}", self._dtype)
            .to(self._dtype)
            .to(self._device)
            for part in ("weight", "bias")
        )
        return self._project([Linear(weight.flatten(1), bias)])
