"""Checks of a checkpoint's config: the forward pass here must compute exactly that model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

from shared_core.errors import UnsupportedModelError
from shared_core.options import DEFAULT_MODEL
from shared_core.scorers.local.checkpoint_files import CONFIG, read_config

# Rotary scalings that depend on a token's position alone. "dynamic" and "longrope" depend on the
# length of the sequence, which in a pack is not the length of a prompt.
_POSITIONAL_ROPE_TYPES = ("default", "linear", "yarn", "llama3")


def load_config(folder: Path, name: str) -> tuple[Any, dict[str, Any]]:
    """Return a checkpoint's config and the content of its file. No checkpoint code is run.

    Args:
        folder: The checkpoint's.
        name: The caller's name for it, for messages.

    Raises:
        ModelLoadError: The file is missing or damaged.
        UnsupportedModelError: It is that of another model, or of an adapter.
    """
    stated = read_config(folder, name)
    if stated.get("model_type") != "qwen3":
        raise UnsupportedModelError(
            f"{name!r} is a {stated.get('model_type')!r} model, not 'qwen3': the yes/no prompt "
            "and its score are defined for Qwen3-Reranker alone. Use e.g. "
            f"model={DEFAULT_MODEL!r}, or sentence-transformers for other rerankers."
        )
    return Qwen3Config.from_pretrained(folder, local_files_only=True), stated


def check_config(config: Any, stated: Mapping[str, Any], name: str) -> Any:
    """Return the transformers class that reads this checkpoint.

    Args:
        config: As transformers reads it.
        said: As the file has it.
        name: The caller's name for it, for messages.

    Raises:
        UnsupportedModelError: The forward here does not compute what it says; names what.
    """
    _check_attention(config, stated, name)
    _check_rotary(config, stated, name)
    if config.hidden_act != "silu":
        raise UnsupportedModelError(
            f"{name!r} has hidden_act={config.hidden_act!r} in its {CONFIG}; rerankers have 'silu'"
        )
    architectures = config.architectures or ["Qwen3ForCausalLM"]
    if "Qwen3ForSequenceClassification" in architectures:
        if config.num_labels != 1:
            raise UnsupportedModelError(
                f"{name!r} is a classifier with {config.num_labels} labels; a converted "
                "Qwen3-Reranker has one"
            )
        return Qwen3ForSequenceClassification
    if "Qwen3ForCausalLM" in architectures:
        return Qwen3ForCausalLM
    raise UnsupportedModelError(
        f"{name!r} declares the architectures {architectures}; expected Qwen3ForCausalLM or "
        "Qwen3ForSequenceClassification"
    )


def _check_attention(config: Any, stated: Mapping[str, Any], name: str) -> None:
    layer_types = set(getattr(config, "layer_types", None) or ())
    by_layer = stated.get("layer_types") is None and bool(stated.get("use_sliding_window"))
    by_layer = by_layer and bool(stated.get("sliding_window"))
    first = stated.get("max_window_layers", 28) if by_layer else None
    if "sliding_attention" in layer_types or (
        first is not None and first < config.num_hidden_layers
    ):
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


def _check_rotary(config: Any, stated: Mapping[str, Any], name: str) -> None:
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    rope_type = rope.get("rope_type") or rope.get("type") or "default"
    if rope_type not in _POSITIONAL_ROPE_TYPES:
        raise UnsupportedModelError(
            f"{name!r} scales its rotary positions by {rope_type!r}, which depends on the length "
            f"of the batch; use one of {', '.join(_POSITIONAL_ROPE_TYPES)}"
        )
    # transformers has read the one key before version 5 and the other since.
    bases = {
        float(part["rope_theta"])
        for part in (stated, stated.get("rope_parameters"), stated.get("rope_scaling"))
        if isinstance(part, dict) and part.get("rope_theta") is not None
    }
    if len(bases) > 1:
        raise UnsupportedModelError(
            f"{name!r} has contradictory rotary positions: rope_theta is "
            f"{' and '.join(f'{base:g}' for base in sorted(bases))} in its {CONFIG}"
        )
    shares = {
        part.get("partial_rotary_factor") for part in (stated, rope) if isinstance(part, dict)
    } - {None, 1}
    if shares:
        raise UnsupportedModelError(
            f"{name!r} rotates only a part of each head (partial_rotary_factor={shares.pop()}); "
            "Qwen3 rotates all of it"
        )
