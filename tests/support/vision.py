"""Small random Qwen3-VL checkpoints, and images for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from shared_core.images.picture import Picture
from shared_core.images.reading import read_image


def vision_config(
    *, text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, **overrides: Any
) -> Qwen3VLConfig:
    """Return the shape of a Qwen3-VL of some 200,000 parameters besides its embeddings.

    Weights are spread so widely that small changes of an image or a position move the margin.
    """
    text_fields = {
        "vocab_size": 151936,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 40960,
        "initializer_range": 0.15,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [4, 6, 6],
            "mrope_interleaved": True,
        },
    }
    vision_fields = {
        "depth": 3,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_heads": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 36,
        "deepstack_visual_indexes": [0, 1],
        "initializer_range": 0.15,
    }
    fields: dict[str, Any] = {
        "text_config": text_fields | (text or {}),
        "vision_config": vision_fields | (vision or {}),
        "tie_word_embeddings": True,
    }
    return Qwen3VLConfig(**(fields | overrides))


def write_vision_checkpoint(
    folder: Path, tokenizer: Any, *, seed: int = 0, **overrides: Any
) -> Path:
    """Write a Qwen3-VL with its tokenizer, as transformers does, and return the folder."""
    torch.manual_seed(seed)
    overrides = {"image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>")} | overrides
    model = Qwen3VLForConditionalGeneration(vision_config(**overrides))
    for name, weight in model.named_parameters():
        if name.endswith("bias"):  # which are zeros
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an image of coarse and of fine patterns."""
    source = np.random.default_rng(seed)
    coarse = Image.fromarray(source.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    noise = source.integers(-40, 41, (height, width, 3))
    pixels = np.asarray(coarse.resize((width, height)), dtype=np.int64) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def picture(width: int, height: int, seed: int = 0) -> Picture:
    """Return a drawn image as scorers receive it."""
    return read_image(drawn(width, height, seed))
