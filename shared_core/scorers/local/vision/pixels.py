"""Sizes of images in the model, and their pixel values.

Sources: qwen-vl-utils 0.0.14 ``vision_process.py`` (``smart_resize`` and ``fetch_image``), with the
bounds of QwenLM/Qwen3-VL-Embedding at 8ce3aab; transformers ``image_processing_pil_qwen2_vl.py``
for the values and their order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from shared_core.errors import ImageError
from shared_core.scorers.local.checkpoints.vision_config import VisionConfig

if TYPE_CHECKING:
    from PIL.Image import Image

# Tokens of an image, and how much longer than wide it may be.
LEAST_TOKENS, MOST_TOKENS = 4, 1800
_MOST_RATIO = 200


class Grid(NamedTuple):
    """The rows and columns of an image, counted in tokens."""

    rows: int
    columns: int

    @property
    def n_tokens(self) -> int:
        """Tokens that the image has in a prompt, besides those around it."""
        return self.rows * self.columns

    @property
    def n_positions(self) -> int:
        """Positions that a prompt advances by over the image."""
        return max(self)


def grid_of(width: int, height: int, side: int) -> Grid:
    """Return the grid of an image: whole tokens, its proportions and the bounds kept.

    Args:
        width, height: In pixels.
        side: The pixels of a token's side.

    Raises:
        ImageError: One side is more than 200 times the other.
    """
    if max(width, height) > _MOST_RATIO * min(width, height):
        raise ImageError(
            f"it has {width} × {height} pixels; one side may be {_MOST_RATIO} times the other at "
            "most: cut it into pieces"
        )
    rows, columns = max(1, round(height / side)), max(1, round(width / side))
    if rows * columns > MOST_TOKENS:
        shrink = math.sqrt(height * width / (MOST_TOKENS * side**2))
        return Grid(math.floor(height / shrink / side), math.floor(width / shrink / side))
    if rows * columns < LEAST_TOKENS:
        grow = math.sqrt(LEAST_TOKENS * side**2 / (height * width))
        return Grid(math.ceil(height * grow / side), math.ceil(width * grow / side))
    return Grid(rows, columns)


def resized(image: Image, grid: Grid, side: int) -> Image:
    """Return an image in its size for the model, ``side`` the pixels of a token's side."""
    return image.resize((grid.columns * side, grid.rows * side))  # bicubic, as is Pillow's default


def pixel_values(image: Image, grid: Grid, config: VisionConfig) -> Tensor:
    """Return the values of an image's patches, Shape (patches, 3 · frames · side · side) float32.

    Patches of a token follow one another. A still image is as many equal frames as a patch has.

    Args:
        image: In RGB.
        grid: Its `grid_of`.
        config: The sizes of patches.
    """
    side, merged = config.patch_size, config.spatial_merge_size
    pixels = np.asarray(resized(image, grid, config.token_side))
    values = (pixels.astype(np.float64) * (1 / 255)).astype(np.float32)
    values = (values - np.float32(0.5)) / np.float32(0.5)
    parts = torch.from_numpy(values).view(grid.rows, merged, side, grid.columns, merged, side, 3)
    patches = parts.permute(0, 3, 1, 4, 6, 2, 5)[..., None, :, :]
    shape = (*patches.shape[:5], config.temporal_patch_size, side, side)
    return patches.expand(shape).reshape(grid.n_tokens * merged**2, -1)
