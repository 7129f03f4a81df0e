"""Writing of a checkpoint in eight bits; `int8_format` describes it."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from shared_core.digests import digest_of
from shared_core.errors import ConfigurationError, UnsupportedModelError
from shared_core.options import RerankerOptions
from shared_core.scorers.local.building import LINEARS, RotatedParts
from shared_core.scorers.local.checkpoints.adapter_source import told_apart
from shared_core.scorers.local.checkpoints.checkpoint import Checkpoint
from shared_core.scorers.local.checkpoints.files import CONFIG, INT8
from shared_core.scorers.local.checkpoints.int8_format import SIGNS, VERSION
from shared_core.scorers.local.checkpoints.model_source import locate_model
from shared_core.scorers.local.checkpoints.shards import write_shards
from shared_core.scorers.local.checkpoints.tensors import CONVERTED_HEAD, EMBEDDING
from shared_core.scorers.local.checkpoints.tokenizer import TOKENIZER
from shared_core.scorers.local.int8 import weight_limit
from shared_core.scorers.local.loading import opened, read_margin_weight

_CONFIG_OF_TOKENIZER = "tokenizer_config.json"


def quantize_checkpoint(
    options: RerankerOptions, folder: Path, *, show_progress: bool = False
) -> Path:
    """Write the model that the options name in eight bits; return the folder.

    It loads in seconds, and scores exactly as ``quantize="int8"`` of its source does.

    Args:
        options: Name the model.
        folder: A new folder, or an empty one. It appears when it is complete.
        show_progress: Draw a bar over the layers.

    Raises:
        ConfigurationError: The folder has files, or this CPU has no eight-bit products.
        ModelLoadError: The source cannot be read.
        UnsupportedModelError: The model would score wrongly, or is in eight bits already.
        OSError: The folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is there already: give a new folder, or an empty one")
    limit = weight_limit()
    located = locate_model(options)
    with opened(located) as checkpoint:
        if checkpoint.is_int8:
            raise UnsupportedModelError(f"{options.model!r} is in eight bits already")
        if checkpoint.vision is not None:
            raise UnsupportedModelError(
                f"{options.model!r} reads images, which a checkpoint in eight bits cannot: give "
                'quantize="int8" when it is loaded'
            )
        part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        part.mkdir(parents=True)
        try:
            _write_weights(part, checkpoint, limit, show_progress=show_progress)
            _write_config(part, checkpoint, limit, _sources(checkpoint, options, located))
            for file in part.glob("*.safetensors"):  # which are written for their owner alone
                shutil.copymode(part / CONFIG, file)
            if folder.exists():
                folder.rmdir()
            os.replace(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return folder


def _write_weights(
    folder: Path, checkpoint: Checkpoint, limit: int, *, show_progress: bool
) -> None:
    progress = tqdm(
        _parts(checkpoint, limit),
        "quantise",
        checkpoint.config.num_hidden_layers + 1,
        unit="layer",
        disable=not show_progress,
    )
    write_shards(folder, progress)


def _parts(checkpoint: Checkpoint, limit: int) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors of each layer, and at last those of none."""
    config, weights = checkpoint.config, checkpoint.weights
    parts = RotatedParts(config, weights, limit)
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}."
        tensors = {
            f"{layer}{norm}.weight": parts.norm(layer, norm)
            for norm in ("self_attn.q_norm", "self_attn.k_norm")
        }
        for name in LINEARS:
            (linear,) = parts.quantised(layer, (name,))
            tensors[f"{layer}{name}.weight"] = linear.weight
            tensors[f"{layer}{name}.weight_scale"] = linear.scale
            if linear.bias is not None:
                tensors[f"{layer}{name}.bias"] = linear.bias
        yield tensors
    yield {
        EMBEDDING: weights.read(EMBEDDING),
        "model.norm.weight": parts.norm("model.", "norm"),
        CONVERTED_HEAD: read_margin_weight(checkpoint)[None].contiguous(),
        SIGNS: parts.stream.signs.to(torch.int8),
    }


def _sources(
    checkpoint: Checkpoint, options: RerankerOptions, located: RerankerOptions
) -> dict[str, str]:
    """Return what a checkpoint was made of: names, without folders' paths, and digests."""
    named = told_apart(options)
    sources = {"source": _name(named.model), "source_digest": digest_of(checkpoint.folder)}
    if named.adapter is not None and located.adapter is not None:
        sources["adapter"] = _name(named.adapter)
        sources["adapter_digest"] = digest_of(Path(located.adapter))
    return sources


def _name(model: str) -> str:
    return Path(model).resolve().name if Path(model).is_dir() else model


def _write_config(
    folder: Path, checkpoint: Checkpoint, limit: int, sources: dict[str, str]
) -> None:
    described: dict[str, Any] = {
        "quant_method": INT8,
        "version": VERSION,
        "weight_limit": limit,
        **sources,
    }
    config = checkpoint.stated | {
        "model_type": INT8,
        "architectures": [INT8],
        "quantization_config": described,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2), "utf-8")
    if (checkpoint.folder / TOKENIZER).is_file():
        shutil.copyfile(checkpoint.folder / TOKENIZER, folder / TOKENIZER)
    else:
        checkpoint.tokenizer.save(str(folder / TOKENIZER))
    if (checkpoint.folder / _CONFIG_OF_TOKENIZER).is_file():
        shutil.copyfile(checkpoint.folder / _CONFIG_OF_TOKENIZER, folder / _CONFIG_OF_TOKENIZER)
