"""The published recipe for images, restated one pair at a time.

Source: QwenLM/Qwen3-VL-Embedding at 8ce3aab, ``src/models/qwen3_vl_reranker.py``, with the chat
template of the model, and ``fetch_image`` and ``smart_resize`` of qwen-vl-utils 0.0.14, which it
calls. Nothing here is imported from the packages under test, and nothing is batched, packed or
cached. Only what is a defect there is otherwise: an image that cannot be read is no "NULL" here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."
FACTOR = 32
MIN_PIXELS = 4 * FACTOR * FACTOR
MAX_PIXELS = 1800 * FACTOR * FACTOR
MAX_LENGTH = 10240

Part = str | Image.Image


class Inputs(NamedTuple):
    """The arguments of the model."""

    ids: list[int]
    pixel_values: torch.Tensor | None
    grid_thw: torch.Tensor | None


def smart_resize(height: int, width: int) -> tuple[int, int]:
    """Return height and width in whole tokens, within the bounds."""
    h_bar = max(FACTOR, round(height / FACTOR) * FACTOR)
    w_bar = max(FACTOR, round(width / FACTOR) * FACTOR)
    if h_bar * w_bar > MAX_PIXELS:
        beta = math.sqrt((height * width) / MAX_PIXELS)
        h_bar = math.floor(height / beta / FACTOR) * FACTOR
        w_bar = math.floor(width / beta / FACTOR) * FACTOR
    elif h_bar * w_bar < MIN_PIXELS:
        beta = math.sqrt(MIN_PIXELS / (height * width))
        h_bar = math.ceil(height * beta / FACTOR) * FACTOR
        w_bar = math.ceil(width * beta / FACTOR) * FACTOR
    return h_bar, w_bar


def fetch_image(image: Image.Image) -> Image.Image:
    """Return an image in its size for the model."""
    image = image.convert("RGB")
    height, width = smart_resize(image.height, image.width)
    return image.resize((width, height))


def format_content(images: list[Image.Image], text: str | None, prefix: str) -> list[Part]:
    """Return the parts of a query or document: images, then the text, or the word NULL."""
    parts: list[Part] = [prefix]
    if text is None and not images:
        return [*parts, "NULL"]
    return [*parts, *images, *([] if text is None else [text])]


def format_pair(
    query: tuple[list[Image.Image], str | None],
    document: tuple[list[Image.Image], str | None],
    instruction: str | None = None,
) -> list[Part]:
    """Return the parts of the user's message."""
    return [
        "<Instruct>: " + (instruction or INSTRUCTION),
        *format_content(*query, prefix="<Query>:"),
        *format_content(*document, prefix="\n<Document>:"),
    ]


def processor() -> Any:
    """Return the image processor of the model."""
    return Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def inputs(tokenizer: Any, parts: list[Part], max_length: int = MAX_LENGTH) -> Inputs:
    """Return the arguments of the model for one pair."""
    images = [fetch_image(part) for part in parts if isinstance(part, Image.Image)]
    pixel_values, grid_thw, counts = None, None, []
    if images:
        found = processor()(images=images, do_resize=False, return_tensors="pt")
        pixel_values, grid_thw = found["pixel_values"], found["image_grid_thw"]
        counts = [int(grid.prod()) // 4 for grid in grid_thw]
    content = ""
    for part in parts:
        if isinstance(part, str):
            content += part
        else:
            content += f"<|vision_start|>{'<|image_pad|>' * counts.pop(0)}<|vision_end|>"
    text = (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = tokenizer(text)["input_ids"]
    return Inputs(truncate(tokenizer, ids[:-5], max_length) + ids[-5:], pixel_values, grid_thw)


def truncate(tokenizer: Any, ids: list[int], max_length: int) -> list[int]:
    """Return ids without those at the end that are too many; special tokens all stay."""
    if len(ids) <= max_length:
        return ids
    special = set(tokenizer.all_special_ids)
    left = max_length - sum(token in special for token in ids)
    kept = []
    for token in ids:
        if token in special:
            kept.append(token)
        elif left > 0:
            kept.append(token)
            left -= 1
    return kept


@torch.no_grad()
def margin(model: Any, tokenizer: Any, given: Inputs) -> float:
    """Return logit(yes) − logit(no), from the model's own logits at the last position."""
    ids = torch.tensor([given.ids])
    image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    logits = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=given.pixel_values,
        image_grid_thw=given.grid_thw,
        mm_token_type_ids=(ids == image_token).int(),
        logits_to_keep=1,
    ).logits[0, -1]
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    return float(logits[yes] - logits[no])


@torch.no_grad()
def positions(model: Any, tokenizer: Any, given: Inputs) -> torch.Tensor:
    """Return time, row and column of each token, Shape (3, tokens)."""
    ids = torch.tensor([given.ids])
    image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    found, _ = model.model.get_rope_index(
        ids, (ids == image_token).int(), image_grid_thw=given.grid_thw
    )
    return found[:, 0]
