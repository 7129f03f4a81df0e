"""Small random Qwen3 checkpoints, written to disk as the real ones are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    Qwen3Model,
)

from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.checkpoints.weights import Header

BUNDLED = Path(__file__).parents[2] / "shared_core" / "tiny"


def random_config(vocab_size: int, **overrides: Any) -> Qwen3Config:
    """Return the shape of a Qwen3 of some 100,000 parameters besides its embeddings."""
    fields: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 40960,
        "rope_theta": 1e6,
        "initializer_range": 0.1,
        "tie_word_embeddings": True,
    }
    return Qwen3Config(**(fields | overrides))


def write_checkpoint(folder: Path, tokenizer: Any, *, seed: int = 0, **overrides: Any) -> Path:
    """Write a causal checkpoint with its tokenizer and return the folder."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(random_config(len(tokenizer), **overrides))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_lora(folder: Path, base: Path, *, rank: int = 4) -> Path:
    """Write a random adapter of a checkpoint's query projections, as PEFT writes one."""
    source = torch.Generator().manual_seed(5)
    weights = load_file(base / "model.safetensors")
    adapter = {}
    for name, weight in weights.items():
        if name.endswith("q_proj.weight"):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            rows, columns = weight.shape
            adapter[f"{module}.lora_A.weight"] = torch.randn(rank, columns, generator=source) / 4
            adapter[f"{module}.lora_B.weight"] = torch.randn(rows, rank, generator=source) / 4
    folder.mkdir(exist_ok=True)
    save_file(adapter, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": rank,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def write_converted_checkpoint(folder: Path, source: Path) -> Path:
    """Write the one-label classifier that equals a causal checkpoint, as the published recipe does.

    Source: vllm ``examples/pooling/score/convert_model_to_seq_cls.py``, ``from_2_way_softmax``.
    """
    tokenizer = AutoTokenizer.from_pretrained(source)
    causal = Qwen3ForCausalLM.from_pretrained(source)
    config = Qwen3Config.from_pretrained(source, num_labels=1)
    classifier = Qwen3ForSequenceClassification(config)
    classifier.model.load_state_dict(causal.model.state_dict())
    head = causal.lm_head.weight
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    with torch.no_grad():
        classifier.score.weight.copy_((head[yes] - head[no]).unsqueeze(0))
    classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def model_config(config: Qwen3Config, *, is_causal: bool = True) -> ModelConfig:
    """Return transformers' config as ours."""
    names = {field.name for field in fields(ModelConfig)} - {"is_causal"}
    return ModelConfig(**{name: getattr(config, name) for name in names}, is_causal=is_causal)


class ModelWeights:
    """The `Weights` of a model in memory."""

    def __init__(self, model: Qwen3Model) -> None:
        self._tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        self.headers = {
            name: Header(str(value.dtype), tuple(value.shape))
            for name, value in self._tensors.items()
        }

    def read(self, name: str) -> Tensor:
        return self._tensors[name]

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        return self._tensors[name][list(places)].float()

    def check_unchanged(self) -> None:
        """Nobody writes into a model in memory."""


def edited(folder: Path, source: Path, **config: Any) -> Path:
    """Copy a checkpoint, with changes to its config.json, into a folder."""
    copy = folder / "edited"
    shutil.copytree(source, copy)
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return copy


def change_weights(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the weights of a checkpoint in place."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
