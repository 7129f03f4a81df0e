"""Small random Qwen3-VL checkpoints, and images for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from shared_core import Content
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


def write_preprocessor(folder: Path) -> None:
    """Write the files by which other programs than ours make values of pixels and frames."""
    values: dict[str, Any] = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    values |= {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "processor_class": "Qwen3VLProcessor",
    }
    for name, kind, sizes in (
        (
            "preprocessor_config",
            {"image_processor_type": "Qwen2VLImageProcessorFast"},
            (65536, 2**24),
        ),
        (
            "video_preprocessor_config",
            {"video_processor_type": "Qwen3VLVideoProcessor"},
            (4096, 2**24),
        ),
    ):
        size = dict(zip(("shortest_edge", "longest_edge"), sizes, strict=True))
        (folder / f"{name}.json").write_text(json.dumps(values | kind | {"size": size}))


def queries_and_documents() -> tuple[list[str | Content], list[str | Content]]:
    """Return texts, images, both, and several images, of sizes from one bound to the other."""
    chart, photo, icon = drawn(300, 200, 1), drawn(90, 250, 2), drawn(20, 20, 3)
    queries: list[str | Content] = ["Which is red?", Content("Alike?", [photo, icon])]
    documents: list[str | Content] = [
        "Mars, the fourth planet.",
        Content(images=[chart]),
        Content("... and its caption", [chart]),
        Content("two", [photo, chart]),
        Content(images=[drawn(3000, 1500, 4)]),
        "",
    ]
    return queries, documents
