"""Checkpoints of the true shapes with random values: speed depends on the shape alone.

Source of the shapes: the configurations of Qwen3 0.6B, 4B and 8B with the reranker's vocabulary;
the parameter counts published for the rerankers (mteb ``qwen3_reranker.py`` at a905523) come out
exactly.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Wide enough that margins spread by some 0.7 from document to document, ten times what bfloat16
# moves them, so that a wrong prompt shows. (0.02, the usual value, spreads them by 0.2.)
_WEIGHT_SPREAD = 0.04
_SHARD_BYTES = 2 * 1024**3
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model that determine the cost of a forward pass.

    Attributes:
        tied: Whether the output head is the embedding matrix.
    """

    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    inner_width: int
    vocabulary: int
    tied: bool

    @property
    def products(self) -> list[tuple[int, int]]:
        """The (inputs, outputs) of every matrix product of one layer."""
        queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
        return [
            (self.width, queries),
            (self.width, keys),
            (self.width, keys),
            (queries, self.width),
            (self.width, self.inner_width),
            (self.width, self.inner_width),
            (self.inner_width, self.width),
        ]

    @property
    def product_flops_per_token(self) -> int:
        """Floating point operations of all layers' matrix products for one token."""
        return 2 * self.layers * sum(inputs * outputs for inputs, outputs in self.products)

    def attention_flops(self, pairs: int) -> int:
        """Operations of attention in all layers, by the number of (query, key) positions."""
        return 4 * self.layers * self.heads * self.head_width * pairs

    @property
    def parameters(self) -> int:
        """All parameters, norms included."""
        products = sum(inputs * outputs for inputs, outputs in self.products)
        norms = 2 * self.width + 2 * self.head_width
        tables = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.layers * (products + norms) + self.width + tables

    def weight_bytes(self, dtype: str) -> int:
        """Bytes of the weights in a dtype."""
        return self.parameters * _BYTES[dtype]


def true_shape(name: str, vocabulary: int) -> Shape:
    """Return the shape of a published size.

    Raises:
        ValueError: There is no such size.
    """
    if name == "0.6b":
        return Shape(1024, 28, 16, 8, 128, 3072, vocabulary, tied=True)
    if name == "4b":
        return Shape(2560, 36, 32, 8, 128, 9728, vocabulary, tied=True)
    if name == "8b":
        return Shape(4096, 36, 32, 8, 128, 12288, vocabulary, tied=False)
    raise ValueError(f"there is no shape {name!r}: give 0.6b, 4b or 8b")


def shape_of(folder: Path) -> Shape:
    """Return the shape that a checkpoint's ``config.json`` states."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return Shape(
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        key_value_heads=config["num_key_value_heads"],
        head_width=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
        inner_width=config["intermediate_size"],
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", True)),
    )


def make_checkpoint(name: str, dtype: str, tokenizer: Path, cache: Path) -> Path:
    """Return the folder of a checkpoint with random values, made unless it is there already.

    Args:
        name: ``"0.6b"``, ``"4b"`` or ``"8b"``.
        dtype: The dtype of the stored weights.
        tokenizer: A folder with ``tokenizer.json`` and ``tokenizer_config.json``.
        cache: The folder of the checkpoints.
    """
    from tokenizers import Tokenizer

    vocabulary = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).get_vocab_size()
    # A small tokenizer uses the first rows of the true table, so that sizes and times stay true.
    vocabulary = max(vocabulary, 151_669)
    folder = cache / f"qwen3-reranker-{name}-{dtype}-{vocabulary}-random"
    tokenizer_digest = f"{(tokenizer / 'tokenizer.json').stat().st_size}"
    done = folder / "complete"
    if done.exists() and done.read_text() == tokenizer_digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _write(folder, true_shape(name, vocabulary), dtype)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / file, folder / file)
    done.write_text(tokenizer_digest)
    return folder


def _write(folder: Path, shape: Shape, dtype: str) -> None:
    """Write configuration and weights, one tensor in memory at a time beside the shard."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen3Config, Qwen3ForCausalLM

    fields: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head_width,
        "max_position_embeddings": 40960,
        "rope_theta": 1e6,
        "tie_word_embeddings": shape.tied,
        "architectures": ["Qwen3ForCausalLM"],
        "dtype": dtype,
    }
    config = Qwen3Config(**fields)
    config.save_pretrained(folder)
    with torch.device("meta"):
        sizes = {name: value.shape for name, value in Qwen3ForCausalLM(config).state_dict().items()}
    if shape.tied:
        sizes.pop("lm_head.weight", None)
    random = torch.Generator().manual_seed(0)
    shard: dict[str, Any] = {}
    index: dict[str, str] = {}
    shard_bytes, kind = 0, getattr(torch, dtype)

    def flush() -> None:
        name = f"model-{len(set(index.values())) + 1:05d}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        index.update(dict.fromkeys(shard, name))
        shard.clear()

    for name, size in sizes.items():
        if len(size) == 1:
            value = torch.ones(size, dtype=kind)
        else:
            value = torch.empty(size, dtype=kind).normal_(0.0, _WEIGHT_SPREAD, generator=random)
        shard[name] = value
        shard_bytes += value.numel() * value.element_size()
        if shard_bytes > _SHARD_BYTES:
            flush()
            shard_bytes = 0
    if shard:
        flush()
    total = shape.weight_bytes(dtype)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=1)
    (folder / "model.safetensors.index.json").write_text(text)
