"""The tensors of a model that reads images, too: the text model's, and the vision tower's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.adapter_config import ADVICE
from shared_core.scorers.local.checkpoints.lora import Adapter
from shared_core.scorers.local.checkpoints.merged import Merged
from shared_core.scorers.local.checkpoints.tensors import (
    HEAD,
    check_missing,
    check_shapes,
    check_unread,
)
from shared_core.scorers.local.checkpoints.vision_config import VisionConfig
from shared_core.scorers.local.checkpoints.weights import Header, Weights

VISUAL = "model.visual."
"""What the names of the vision tower's tensors begin with."""
_LANGUAGE = "model.language_model."


class VisionPart(NamedTuple):
    """What a checkpoint has of a vision tower.

    Attributes:
        config: Its sizes.
        weights: Its tensors, among others.
    """

    config: VisionConfig
    weights: Weights


class LanguageWeights:
    """The weights of the text model, by the names that a model for text alone gives them.

    Args:
        weights: Those of the whole model, by transformers' names of
            ``Qwen3VLForConditionalGeneration``.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._names = {
            re.sub(f"^{re.escape(_LANGUAGE)}", "model.", name): name
            for name in weights.headers
            if not name.startswith(VISUAL)
        }

    @property
    def headers(self) -> Mapping[str, Header]:
        """Dtype and shape of every tensor."""
        found = self._weights.headers
        return {name: found[whole] for name, whole in self._names.items()}

    def read(self, name: str) -> Tensor:
        """Return a whole tensor; see `Weights`."""
        return self._weights.read(self._names[name])

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        """Return some rows of a tensor, Shape (places, …) float32."""
        return self._weights.rows(self._names[name], places)

    def check_unchanged(self) -> None:
        """Raise if the files were written to since they were opened."""
        self._weights.check_unchanged()


def with_adapter(weights: Weights, adapter: Adapter) -> Weights:
    """Return the weights with an adapter of any of their layers merged in.

    Raises:
        UnsupportedModelError: It is of another model, or changes the head or the embeddings, which
            may be one matrix.
    """
    for name in adapter.changes:
        if name == HEAD or name.endswith("embed_tokens.weight"):
            raise UnsupportedModelError(
                f"{adapter} changes {name}: of models that read images, only layers have adapters "
                f"merged here. {ADVICE}"
            )
    return Merged(weights, adapter, ties=False)


def check_visual(weights: Weights, config: VisionConfig, name: str) -> None:
    """Raise unless the files hold exactly the tensors of the vision tower.

    Raises:
        UnsupportedModelError: Names tensors that are missing, unread, or of another shape or dtype.
    """
    expected = {VISUAL + tensor: shape for tensor, shape in _shapes(config).items()}
    found = {tensor: h for tensor, h in weights.headers.items() if tensor.startswith(VISUAL)}
    check_missing([tensor for tensor in expected if tensor not in found], name)
    check_unread([tensor for tensor in found if tensor not in expected], name)
    check_shapes(found, expected, name)


def _shapes(config: VisionConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of the tower, by name."""
    width, inner, side = config.hidden_size, config.intermediate_size, config.patch_size
    joined = width * config.spatial_merge_size**2
    patch = (config.in_channels, config.temporal_patch_size, side, side)
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed.weight": (config.num_position_embeddings, width)
    }
    linears: dict[str, tuple[int, ...]] = {"patch_embed.proj": (width, *patch)}
    norms: dict[str, int] = {}
    for number in range(config.depth):
        block = f"blocks.{number}."
        norms |= {f"{block}norm1": width, f"{block}norm2": width}
        linears |= {
            f"{block}attn.qkv": (3 * width, width),
            f"{block}attn.proj": (width, width),
            f"{block}mlp.linear_fc1": (inner, width),
            f"{block}mlp.linear_fc2": (width, inner),
        }
    deep = [f"deepstack_merger_list.{n}." for n in range(len(config.deepstack_visual_indexes))]
    for merger in ("merger.", *deep):
        norms[f"{merger}norm"] = joined if merger in deep else width
        linears[f"{merger}linear_fc1"] = (joined, joined)
        linears[f"{merger}linear_fc2"] = (config.out_hidden_size, joined)
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name, size in norms.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    return shapes
