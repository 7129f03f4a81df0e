"""A checkpoint with its adapter merged in, written to disk for a backend that reads files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from shared_core.scorers.local.checkpoints.checkpoint import Checkpoint
from shared_core.scorers.local.checkpoints.config import CAUSAL, CONVERTED
from shared_core.scorers.local.checkpoints.files import CONFIG
from shared_core.scorers.local.checkpoints.shards import write_shards
from shared_core.scorers.local.checkpoints.tensors import read_shapes
from shared_core.scorers.local.checkpoints.tokenizer import TOKENIZER


def write_merged(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype) -> None:
    """Write all tensors that are read, in a dtype, with config and tokenizer.

    Args:
        checkpoint: The checkpoint, opened with its adapter.
        folder: An empty folder.
        dtype: The dtype of the computation, for which float32 would only be longer.
    """
    config, weights = checkpoint.config, checkpoint.weights
    names = read_shapes(config)
    write_shards(folder, ({name: weights.read(name).to(dtype).clone()} for name in names))
    stated = checkpoint.stated | {
        "architectures": [CAUSAL if config.is_causal else CONVERTED],
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    if not config.is_causal:
        stated |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (folder / CONFIG).write_text(json.dumps(stated, indent=2), "utf-8")
    checkpoint.tokenizer.save(str(folder / TOKENIZER))
    for file in ("tokenizer_config.json", "vocab.json", "merges.txt", "generation_config.json"):
        if (checkpoint.folder / file).is_file():
            shutil.copyfile(checkpoint.folder / file, folder / file)
