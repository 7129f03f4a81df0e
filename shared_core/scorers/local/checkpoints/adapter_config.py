"""An adapter's config: PEFT's ``adapter_config.json``, of which nothing is left unread.

Source: peft ``tuners/lora/config.py`` and ``tuners/tuners_utils.py`` (0.21).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.scorers.local.checkpoints.files import json_object

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_PICKLE = "adapter_model.bin"

ADVICE = (
    "Merge it with peft (merge_and_unload, save_pretrained), and give the folder of the merged "
    "weights."
)
# What is read here, and what says nothing of the weights that were saved.
_READ = frozenset({
    "peft_type", "task_type", "r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern",
    "alpha_pattern", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
    "modules_to_save", "bias", "init_lora_weights", "ensure_weight_tying",
    "base_model_name_or_path", "revision",
})  # fmt: skip
_HARMLESS = frozenset({
    "auto_mapping", "inference_mode", "peft_version", "lora_dropout", "fan_in_fan_out",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_core",
    "runtime_config", "qalora_group_size",
})  # fmt: skip
# Beginnings that leave the base as it is. The others, as PiSSA, take something out of its weights.
_PLAIN_BEGINNINGS = (True, False, None, "gaussian", "orthogonal", "eva")
_TASKS = (None, "CAUSAL_LM", "SEQ_CLS")
_HEADS = ("lm_head", "score")
# A repetition inside of a repeated group can take for ever, and names of modules need none.
_ENDLESS = re.compile(r"\([^()]*[+*}][^()]*\)[+*{]")


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """A LoRA adapter's config that passed all checks.

    Attributes:
        name: The caller's name for the adapter, for messages.
        stated: The file's content.
    """

    name: str
    stated: Mapping[str, Any]

    @property
    def uses_dora(self) -> bool:
        """Whether rows are scaled to a trained length."""
        return bool(self.stated.get("use_dora"))

    @property
    def ties(self) -> bool:
        """Whether head and embedding stay one matrix where the base has one."""
        return bool(self.stated.get("ensure_weight_tying"))

    @property
    def is_classifier(self) -> bool:
        """Whether it was trained on a model with a classifier's head."""
        return self.stated.get("task_type") == "SEQ_CLS"

    def rank(self, module: str) -> int:
        """Return the rank of a module's matrices."""
        return int(self._of("rank_pattern", module, self.stated.get("r", 8)))

    def scale(self, module: str) -> float:
        """Return what the product of a module's matrices is multiplied by."""
        alpha = float(self._of("alpha_pattern", module, self.stated.get("lora_alpha", 8)))
        rank = self.rank(module)
        return alpha / (math.sqrt(rank) if self.stated.get("use_rslora") else rank)

    def is_saved(self, module: str) -> bool:
        """Return whether a module, or one that it is a part of, was trained and saved whole."""
        parts = module.split(".")
        wholes = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
        names = self._names("modules_to_save")
        return any(whole.endswith(name) for whole in wholes for name in names)

    def targets(self, module: str) -> bool:
        """Return whether a module has low-rank matrices."""
        if self.is_saved(module) or self._is_named("exclude_modules", module):
            return False
        targets = self.stated.get("target_modules")
        if isinstance(targets, str) and targets.lower() == "all-linear":
            return module not in _HEADS and not module.endswith("embed_tokens")
        if not self._is_named("target_modules", module):
            return False
        layers = self.stated.get("layers_to_transform")
        if isinstance(targets, str) or layers in (None, []):
            return True
        patterns = self._names("layers_pattern") or ["[^.]*"]
        found = [re.match(rf"(?:^|.*?\.){pattern}\.(\d+)\.", module) for pattern in patterns]
        numbers = [int(match[1]) for match in found if match is not None]
        chosen = [layers] if isinstance(layers, int) else layers
        return bool(numbers) and numbers[0] in chosen

    def _is_named(self, key: str, module: str) -> bool:
        value = self.stated.get(key)
        if isinstance(value, str):
            return re.fullmatch(value, module) is not None
        return any(_ends(module, name) for name in value or ())

    def _names(self, key: str) -> list[str]:
        value = self.stated.get(key)
        return [value] if isinstance(value, str) else list(value or ())

    def _of(self, key: str, module: str, default: Any) -> Any:
        for pattern, value in (self.stated.get(key) or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        return default


def read_adapter_config(folder: Path, name: str) -> AdapterConfig:
    """Return an adapter's config.

    Args:
        folder: The adapter's.
        name: The caller's name for it, for messages.

    Raises:
        ModelLoadError: The file is missing or damaged.
        UnsupportedModelError: It is not LoRA, or changes weights in a way that is not computed
            here; names which.
    """
    path = folder / ADAPTER_CONFIG
    if not path.is_file():
        raise ModelLoadError(
            f"{name!r} has no {ADAPTER_CONFIG} in {folder}: an adapter is a folder that peft's "
            f"save_pretrained wrote, with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"
        )
    stated = json_object(path, name)

    def refuse(what: str) -> None:
        raise UnsupportedModelError(f"the adapter {name!r} {what}. {ADVICE}")

    kind = stated.get("peft_type")
    if kind != "LORA":
        refuse(f"is of the kind {kind!r}, and only LoRA is merged here (peft_type)")
    task = stated.get("task_type")
    if task not in _TASKS:
        raise UnsupportedModelError(
            f"the adapter {name!r} was trained for {task!r} (task_type), not to answer yes or no: "
            "expected one for CAUSAL_LM, or for SEQ_CLS with its score"
        )
    if stated.get("bias", "none") != "none":
        refuse(f"trained biases (bias={stated['bias']!r}), which Qwen3 has no place for")
    if stated.get("init_lora_weights", True) not in _PLAIN_BEGINNINGS:
        refuse(
            f"began with {stated['init_lora_weights']!r} (init_lora_weights), which also changed "
            "the base's weights, and they are not in its file"
        )
    for key in sorted(stated.keys() - _READ - _HARMLESS):
        if stated[key]:
            refuse(f"has {key}={str(stated[key])[:80]!r}, which is not computed here")
    _check_types(stated, name)
    return AdapterConfig(name, stated)


def _check_types(stated: Mapping[str, Any], name: str) -> None:
    """Raise if a value has another type than PEFT writes, or a pattern cannot be used."""

    def number(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0

    def texts(value: Any) -> bool:
        return isinstance(value, str) or (
            isinstance(value, list) and all(isinstance(item, str) for item in value)
        )

    wrong = [key for key in ("r", "lora_alpha") if not number(stated.get(key, 8))]
    lists = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")
    wrong += [key for key in lists if not texts(stated.get(key) or [])]
    for key in ("rank_pattern", "alpha_pattern"):
        found = stated.get(key) or {}
        if not isinstance(found, dict) or not all(map(number, found.values())):
            wrong.append(key)
    if wrong:
        raise ModelLoadError(
            f"the adapter {name!r} is damaged: {', '.join(wrong)} of its {ADAPTER_CONFIG} is not "
            "what peft writes there"
        )
    patterns: list[str] = [
        *(stated.get("rank_pattern") or {}),
        *(stated.get("alpha_pattern") or {}),
    ]
    patterns += [stated[key] for key in lists if isinstance(stated.get(key), str)]
    for pattern in patterns:
        _check_pattern(pattern, name)


def _check_pattern(pattern: str, name: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ModelLoadError(
            f"the adapter {name!r} has the pattern {pattern!r}, which is none: {error}"
        ) from error
    if _ENDLESS.search(pattern):
        raise UnsupportedModelError(
            f"the adapter {name!r} has the pattern {pattern!r}, which could take for ever. {ADVICE}"
        )


def _ends(module: str, name: str) -> bool:
    """Return whether a module has this name, or its path ends with it."""
    return module == name or module.endswith(f".{name}")
