"""Writing of safetensors in files of a bounded size, with their index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from shared_core.scorers.local.memory import give_back

_SHARD_BYTES = 2**30


def write_shards(folder: Path, parts: Iterable[Mapping[str, Tensor]]) -> None:
    """Write tensors by name, part after part, as transformers names such files.

    Args:
        folder: The folder to write into.
        parts: Tensors that are let go together. No more than a file of them is in memory.
    """
    shard: dict[str, Tensor] = {}
    places: dict[str, str] = {}

    def flush() -> None:
        file = f"model-{len(set(places.values())) + 1:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, file))
        shard.clear()
        give_back()

    for part in parts:
        shard |= part
        if sum(values.nbytes for values in shard.values()) > _SHARD_BYTES:
            flush()
    if shard:
        flush()
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), "utf-8")
