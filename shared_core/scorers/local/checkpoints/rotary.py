"""Rotary frequencies of a config. Source: transformers ``modeling_rope_utils.py``."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from shared_core.scorers.local.checkpoints.config import ModelConfig


def frequencies(config: ModelConfig) -> tuple[Tensor, float]:
    """Return the angle per position, Shape (d / 2,) float32, and the factor of cosine and sine.

    Scalings that depend on the length of a sequence are refused by `config`.
    """
    rope, d = config.rope_parameters, config.head_dim
    powers = float(rope["rope_theta"]) ** (torch.arange(0, d, 2, dtype=torch.float32) / d)
    kind = rope["rope_type"]
    if kind == "linear":
        return 1.0 / powers / rope["factor"], 1.0
    if kind == "llama3":
        return _llama3(1.0 / powers, rope), 1.0
    if kind == "yarn":
        return _yarn(powers, rope), _yarn_scaling(rope)
    return 1.0 / powers, 1.0


def position_parts(config: ModelConfig) -> Tensor:
    """Return which of a token's positions (time, row, column) each angle is of, Shape (d / 2,).

    The three are interleaved; what is over is time's. All of them are, where there are no images.
    Source: transformers ``modeling_qwen3_vl.py``, ``recomposition_frequencies``.
    """
    parts = torch.zeros(config.head_dim // 2, dtype=torch.int64)
    for part, size in enumerate(config.rope_parameters.get("mrope_section") or ()):
        if part:
            parts[part : 3 * size : 3] = part
    return parts


def _llama3(per_position: Tensor, rope: dict[str, Any]) -> Tensor:
    """Return frequencies of which the low ones are divided, with a smooth passage between."""
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    length = rope["original_max_position_embeddings"]
    wavelength = 2 * math.pi / per_position
    divided = torch.where(wavelength > length / low, per_position / factor, per_position)
    smooth = (length / wavelength - low) / (high - low)
    between = (1 - smooth) * divided / factor + smooth * divided
    is_between = (wavelength >= length / high) & (wavelength <= length / low)
    found: Tensor = torch.where(is_between, between, divided)
    return found


def _yarn(powers: Tensor, rope: dict[str, Any]) -> Tensor:
    """Return frequencies that pass from their own to divided ones along the head."""
    d, base, factor = 2 * len(powers), float(rope["rope_theta"]), rope["factor"]
    length = rope["original_max_position_embeddings"]

    def place(turns: float) -> float:
        return d * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = place(rope.get("beta_fast") or 32), place(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, d - 1)
    last = last + 0.001 if first == last else last
    ramp = ((torch.arange(d // 2, dtype=torch.float32) - first) / (last - first)).clamp(0, 1)
    own = 1 - ramp
    found: Tensor = 1.0 / (factor * powers) * (1 - own) + 1.0 / powers * own
    return found


def _yarn_scaling(rope: dict[str, Any]) -> float:
    if rope.get("attention_factor") is not None:
        return float(rope["attention_factor"])

    def scale(weight: float = 1.0) -> float:
        return 0.1 * weight * math.log(rope["factor"]) + 1.0 if rope["factor"] > 1 else 1.0

    mscale, mscale_all = rope.get("mscale"), rope.get("mscale_all_dim")
    return scale(mscale) / scale(mscale_all) if mscale and mscale_all else scale()
