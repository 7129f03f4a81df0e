"""A checkpoint's ``config.json``: the forward pass here must compute exactly that model.

Defaults are those of transformers' ``Qwen3Config``, which reads the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.options import DEFAULT_MODEL
from shared_core.scorers.local.checkpoints.files import CONFIG, INT8, is_int8, read_config
from shared_core.scorers.local.checkpoints.vision_config import (
    VISION_CAUSAL,
    VISION_TYPE,
    check_position_parts,
    is_vision,
    text_config,
)

CAUSAL, CONVERTED = "Qwen3ForCausalLM", "Qwen3ForSequenceClassification"

# Rotary scalings that depend on a token's position alone, with what they need. "dynamic" and
# "longrope" depend on the length of the sequence, which in a pack is not the length of a prompt.
_ROPE_NEEDS: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings"),
    "llama3": (
        "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    ),
}  # fmt: skip
_SIZES = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128,
    "max_position_embeddings": 32768,
}  # fmt: skip
# Far more than any model has; what is damaged or hostile is refused before memory is asked for.
_MOST, _MOST_LAYERS = 2**24, 1000


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The values that the forward pass needs, by transformers' names.

    Attributes:
        rope_parameters: Type, base (``rope_theta``) and scaling of the rotary positions.
        is_causal: Whether the head is that of a language model, not of a converted classifier.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_parameters: dict[str, Any]
    attention_bias: bool
    tie_word_embeddings: bool
    is_causal: bool
    eos_token_id: int | list[int] | None

    @property
    def n_layer_weights(self) -> int:
        """Weights of the matrices of all layers, without norms and biases."""
        heads = 2 * (self.num_attention_heads + self.num_key_value_heads) * self.head_dim
        return self.num_hidden_layers * self.hidden_size * (heads + 3 * self.intermediate_size)


def load_config(
    folder: Path, name: str, *, has_adapter: bool = False
) -> tuple[ModelConfig, dict[str, Any]]:
    """Return a checkpoint's config, checked, and the content of its file.

    Args:
        folder: The checkpoint's.
        name: The caller's name for it, for messages.
        has_adapter: Whether an adapter is applied to it.

    Raises:
        ModelLoadError: The file is missing or damaged.
        UnsupportedModelError: The config is that of another model or of an adapter, or names
            something that the forward here does not compute.
    """
    stated = read_config(folder, name, has_adapter=has_adapter)
    if is_int8(stated) and stated.get("model_type") == INT8:
        stated |= {"model_type": "qwen3", "architectures": [CAUSAL]}  # as the source's
    if stated.get("model_type") not in ("qwen3", VISION_TYPE):
        raise UnsupportedModelError(
            f"{name!r} is a {stated.get('model_type')!r} model, not 'qwen3' or {VISION_TYPE!r}: "
            "the yes/no prompt and its score are defined for Qwen3-Reranker and Qwen3-VL-Reranker "
            f"alone. Use e.g. model={DEFAULT_MODEL!r}, or sentence-transformers for other "
            "rerankers."
        )
    text = text_config(stated)
    sizes = _sizes(text, name)
    _check_attention(text, sizes["num_hidden_layers"], name)
    base = 500000.0 if is_vision(stated) else 10000.0
    rope = _rope(text, sizes["max_position_embeddings"], base, name)
    if text.get("hidden_act", "silu") != "silu":
        raise UnsupportedModelError(
            f"{name!r} has hidden_act={text['hidden_act']!r} in its {CONFIG}; rerankers have 'silu'"
        )
    config = ModelConfig(
        **sizes,
        rms_norm_eps=_number(text, "rms_norm_eps", 1e-6, name),
        rope_parameters=rope,
        attention_bias=bool(text.get("attention_bias", False)),
        tie_word_embeddings=bool(text.get("tie_word_embeddings", False)),
        is_causal=_is_causal(stated, name),
        eos_token_id=text.get("eos_token_id"),
    )
    if is_vision(stated):
        check_position_parts(rope, sizes["head_dim"], name)
    return config, stated


def _sizes(stated: Mapping[str, Any], name: str) -> dict[str, int]:
    sizes = {key: stated.get(key, default) for key, default in _SIZES.items()}
    if sizes["num_key_value_heads"] is None:
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    if sizes["head_dim"] is None:
        sizes["head_dim"] = sizes["hidden_size"] // sizes["num_attention_heads"]
    for key, size in sizes.items():
        most = _MOST_LAYERS if key == "num_hidden_layers" else _MOST
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= most:
            raise ModelLoadError(
                f"could not load {name!r}: {key} is {size!r} in its {CONFIG}; expected a whole "
                f"number from 1 to {most}"
            )
    heads, groups, d = (
        sizes[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim")
    )
    if heads % groups or d % 2:
        raise ModelLoadError(
            f"could not load {name!r}: {heads} heads in {groups} groups of width {d} in its "
            f"{CONFIG}; expected a multiple of the groups, of even width"
        )
    return sizes


def _number(stated: Mapping[str, Any], key: str, default: float | None, name: str) -> float:
    value = stated.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < 1e30:
        raise ModelLoadError(
            f"could not load {name!r}: {key} is {value!r} in its {CONFIG}; expected a number "
            "above 0"
        )
    return float(value)


def _is_causal(stated: Mapping[str, Any], name: str) -> bool:
    if is_vision(stated):
        architectures = stated.get("architectures") or [VISION_CAUSAL]
        if VISION_CAUSAL not in architectures:
            raise UnsupportedModelError(
                f"{name!r} declares the architectures {architectures}; expected {VISION_CAUSAL}"
            )
        return True
    architectures = stated.get("architectures") or [CAUSAL]
    if CONVERTED in architectures:
        labels = stated.get("id2label")
        n_labels = len(labels) if labels else stated.get("num_labels", 2)
        if n_labels != 1:
            raise UnsupportedModelError(
                f"{name!r} is a classifier with {n_labels} labels; a converted "
                "Qwen3-Reranker has one"
            )
        return False
    if CAUSAL in architectures:
        return True
    raise UnsupportedModelError(
        f"{name!r} declares the architectures {architectures}; expected {CAUSAL} or {CONVERTED}"
    )


def _check_attention(stated: Mapping[str, Any], n_layers: int, name: str) -> None:
    layer_types = set(stated.get("layer_types") or ())
    by_layer = stated.get("layer_types") is None and bool(stated.get("use_sliding_window"))
    by_layer = by_layer and bool(stated.get("sliding_window"))
    first = stated.get("max_window_layers", 28) if by_layer else None
    if "sliding_attention" in layer_types or (first is not None and first < n_layers):
        raise UnsupportedModelError(f"{name!r} uses sliding-window attention; rerankers do not")
    if layer_types - {"full_attention"}:
        raise UnsupportedModelError(
            f"{name!r} has layers of {', '.join(sorted(layer_types))}; rerankers have full "
            "attention alone"
        )
    if stated.get("is_causal") is False or stated.get("use_bidirectional_attention"):
        raise UnsupportedModelError(
            f"{name!r} says in its {CONFIG} that tokens attend to later ones; a Qwen3-Reranker is "
            "causal"
        )


def _rope(stated: Mapping[str, Any], n_positions: int, base: float, name: str) -> dict[str, Any]:
    """Return the rotary parameters; transformers before 5 keeps the base beside them."""
    # transformers has read the one key before version 5 and the other since.
    parts = [
        dict(part)
        for part in (stated.get("rope_scaling"), stated.get("rope_parameters"))
        if isinstance(part, dict) and part
    ]
    rope = parts[0] if parts else {}
    rope_type = rope.setdefault("rope_type", rope.get("type") or "default")
    if rope_type not in _ROPE_NEEDS:
        raise UnsupportedModelError(
            f"{name!r} scales its rotary positions by {rope_type!r}, which depends on the length "
            f"of the batch; use one of {', '.join(_ROPE_NEEDS)}"
        )
    bases = {
        _number(part, "rope_theta", None, name)
        for part in (stated, *parts)
        if part.get("rope_theta") is not None
    }
    if len(bases) > 1:
        raise UnsupportedModelError(
            f"{name!r} has contradictory rotary positions: rope_theta is "
            f"{' and '.join(f'{found:g}' for found in sorted(bases))} in its {CONFIG}"
        )
    kinds = [{k: v for k, v in part.items() if k not in ("type", "rope_theta")} for part in parts]
    if any(kind.setdefault("rope_type", rope_type) and kind != kinds[0] for kind in kinds):
        raise UnsupportedModelError(
            f"{name!r} has contradictory rotary positions: rope_scaling and rope_parameters differ "
            f"in its {CONFIG}"
        )
    shares = {part.get("partial_rotary_factor") for part in (stated, *parts)} - {None, 1}
    if shares:
        raise UnsupportedModelError(
            f"{name!r} rotates only a part of each head (partial_rotary_factor={shares.pop()}); "
            "Qwen3 rotates all of it"
        )
    rope["rope_theta"] = bases.pop() if bases else base
    original = stated.get("original_max_position_embeddings", n_positions)
    rope.setdefault("original_max_position_embeddings", original)
    for key in _ROPE_NEEDS[rope_type]:
        rope[key] = _number(rope, key, None, name)
    return rope
