"""The part of a Qwen3-VL's ``config.json`` that describes how it reads images.

Defaults are those of transformers' ``Qwen3VLVisionConfig``, which reads the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.prompt.forms import TEXT_FORM, VISION_FORM, Form
from shared_core.scorers.local.checkpoints.files import CONFIG, json_object

VISION_TYPE = "qwen3_vl"
VISION_CAUSAL = "Qwen3VLForConditionalGeneration"

_PREPROCESSOR = "preprocessor_config.json"
_MOST = 2**20


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The sizes of the vision tower, by transformers' names.

    Attributes:
        deepstack_visual_indexes: The layers whose outputs are added to the text layers', one after
            the other from the first.
        rope_theta: The base of the rotary positions.
    """

    depth: int = 27
    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_heads: int = 16
    in_channels: int = 3
    patch_size: int = 16
    spatial_merge_size: int = 2
    temporal_patch_size: int = 2
    out_hidden_size: int = 3584
    num_position_embeddings: int = 2304
    deepstack_visual_indexes: tuple[int, ...] = (8, 16, 24)
    rope_theta: float = 10000.0

    @property
    def patch_values(self) -> int:
        """Values of a patch."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def token_side(self) -> int:
        """Pixels of a side of a token."""
        return self.patch_size * self.spatial_merge_size


def is_vision(stated: Mapping[str, Any]) -> bool:
    """Return whether a ``config.json`` is that of a model that reads images, too."""
    return stated.get("model_type") == VISION_TYPE


def prompt_form(folder: Path, name: str) -> Form:
    """Return the form of the prompt of a checkpoint, by its ``config.json`` if it has one.

    Raises:
        ModelLoadError: The file is damaged.
    """
    path = folder / CONFIG
    return VISION_FORM if path.is_file() and is_vision(json_object(path, name)) else TEXT_FORM


def text_config(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a ``config.json`` says of the text model: of one for text alone, all of it."""
    if not is_vision(stated):
        return dict(stated)
    text = stated.get("text_config")
    shared = {"tie_word_embeddings": stated.get("tie_word_embeddings", False)}
    return (text if isinstance(text, dict) else {}) | shared


def check_position_parts(rope: Mapping[str, Any], head_dim: int, name: str) -> None:
    """Raise unless the angles of a head are divided over time, rows and columns as here."""
    sections = rope.get("mrope_section")
    sizes = [size for size in sections or () if type(size) is int]
    if not isinstance(sections, list) or len(sizes) != 3 or sum(sizes) != head_dim // 2:
        raise UnsupportedModelError(
            f"{name!r} has mrope_section={sections!r} in its {CONFIG}; expected three numbers "
            f"whose sum is {head_dim // 2}"
        )
    if rope.get("mrope_interleaved") is False:
        raise UnsupportedModelError(
            f"{name!r} has mrope_interleaved=false in its {CONFIG}; Qwen3-VL interleaves"
        )


def load_vision_config(stated: Mapping[str, Any], folder: Path, name: str) -> VisionConfig:
    """Return the config of a checkpoint's vision tower, checked.

    Args:
        stated: The content of ``config.json``.
        folder: The checkpoint's.
        name: The caller's name for it, for messages.

    Raises:
        ModelLoadError: A size is missing or no size.
        UnsupportedModelError: It names something that is not computed here.
    """
    vision = stated.get("vision_config")
    if not isinstance(vision, dict):
        raise ModelLoadError(f"could not load {name!r}: its {CONFIG} has no vision_config")
    if vision.get("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
        raise UnsupportedModelError(
            f"{name!r} has hidden_act={vision['hidden_act']!r} in its vision_config; "
            "Qwen3-VL-Reranker has 'gelu_pytorch_tanh'"
        )
    values: dict[str, Any] = {
        field.name: vision.get(field.name, field.default) for field in fields(VisionConfig)
    }
    indexes = values.pop("deepstack_visual_indexes")
    theta = (vision.get("rope_parameters") or {}).get("rope_theta", values.pop("rope_theta"))
    for key, size in values.items():
        if type(size) is not int or not 0 < size <= _MOST:
            raise ModelLoadError(
                f"could not load {name!r}: {key} is {size!r} in the vision_config of its {CONFIG}; "
                f"expected a whole number from 1 to {_MOST}"
            )
    if not isinstance(indexes, (list, tuple)) or not {*indexes} <= {*range(values["depth"])}:
        raise ModelLoadError(
            f"could not load {name!r}: deepstack_visual_indexes is {indexes!r} in its {CONFIG}; "
            f"expected layers from 0 to {values['depth'] - 1}"
        )
    config = VisionConfig(
        **values, deepstack_visual_indexes=tuple(indexes), rope_theta=float(theta)
    )
    side = round(config.num_position_embeddings**0.5)
    if (
        config.hidden_size % (4 * config.num_heads)
        or config.in_channels != 3
        or side**2 != config.num_position_embeddings
        or config.out_hidden_size != text_config(stated).get("hidden_size")
    ):
        raise UnsupportedModelError(
            f"the vision_config of {name!r} is not that of a Qwen3-VL: expected three channels, "
            "heads of a multiple of four, a square of position embeddings, and the text_config's "
            "hidden_size as out_hidden_size"
        )
    _check_values(folder, name)
    return config


def _check_values(folder: Path, name: str) -> None:
    """Raise if pixel values are not normalised as here."""
    if not (folder / _PREPROCESSOR).is_file():
        return
    stated = json_object(folder / _PREPROCESSOR, name)
    for key in ("image_mean", "image_std"):
        if stated.get(key, [0.5] * 3) != [0.5] * 3:
            raise UnsupportedModelError(
                f"{name!r} has {key}={stated[key]} in its {_PREPROCESSOR}; Qwen3-VL-Reranker has "
                "0.5 for every channel"
            )
