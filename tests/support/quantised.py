"""Quantised layers as the writers of their formats lay them out, restated on streams of bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared_core.scorers.local.checkpoints.quantised.weights import QuantisedWeights
from shared_core.scorers.local.checkpoints.weights import DTYPES, Header

Layer = tuple[dict[str, Tensor], Tensor]
"""The stored parts of a layer, and the weight that they stand for, Shape (o, i) float32."""

NAME = "model.layers.0.mlp.up_proj"
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class TensorWeights:
    """The `Weights` of tensors in memory."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self.headers = {
            name: Header(_NAMES[value.dtype], tuple(value.shape)) for name, value in tensors.items()
        }

    def read(self, name: str) -> Tensor:
        return self._tensors[name]

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        return self._tensors[name][list(places)].float()

    def check_unchanged(self) -> None:
        """Nobody writes into tensors in memory."""


def read_layer(
    parts: Mapping[str, Tensor], config: Mapping[str, Any], name: str = NAME
) -> QuantisedWeights:
    """Return the weights of a checkpoint that is this layer alone."""
    tensors = TensorWeights({f"{name}.{part}": values for part, values in parts.items()})
    return QuantisedWeights(tensors, {"quantization_config": config}, "given")


def packed(rows: Tensor, bits: int) -> Tensor:
    """Return the numbers of each row in words without gaps, low bits first, as int32."""
    numbers = rows.numpy().astype(np.uint8)[..., None]
    stream = np.unpackbits(numbers, axis=-1, count=bits, bitorder="little").reshape(len(rows), -1)
    stream = np.pad(stream, ((0, 0), (0, -stream.shape[1] % 32)))
    return torch.from_numpy(np.packbits(stream, axis=-1, bitorder="little").view("<i4").copy())


def _less_one(words: Tensor, bits: int) -> Tensor:
    """Take 1 from every number by a subtraction from whole words, as the first GPTQ format."""
    ones = np.uint32(sum(1 << place for place in range(0, 32, bits)))
    return torch.from_numpy((words.numpy().view(np.uint32) - ones).view(np.int32))


def _quantised(
    weight: Tensor, groups: Tensor, bits: int, *, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return numbers (o, i), zeros (o, g), scales (o, g) float16, and the weight again."""
    most = 2**bits - 1
    zeros, scales = [], []
    for group in range(int(groups.max()) + 1):
        part = weight[:, groups == group]
        low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
        if symmetric:
            high = torch.maximum(high, -low)
            low = -high
        scale = ((high - low) / most).half().clamp(min=1e-4)
        scales.append(scale)
        zero = (-low / scale).round() if not symmetric else torch.full_like(low, 2 ** (bits - 1))
        zeros.append(zero)
    scale, zero = torch.stack(scales, 1), torch.stack(zeros, 1)
    spread, offset = scale.double()[:, groups], zero.double()[:, groups]
    numbers = (weight.double() / spread + offset).round().clamp(0, most)
    return numbers, zero, scale, ((numbers - offset) * spread).float()


def gptq_layer(
    weight: Tensor,
    *,
    bits: int = 4,
    size: int = 32,
    symmetric: bool = True,
    order: bool = False,
    less_one: bool = True,
) -> Layer:
    """Return a layer as AutoGPTQ and GPTQModel store it; ``size`` -1 is one group."""
    groups = torch.arange(weight.shape[1]) // (weight.shape[1] if size == -1 else size)
    if order:
        groups = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(1))]
    numbers, zeros, scales, again = _quantised(weight, groups, bits, symmetric=symmetric)
    qzeros = packed(zeros.t(), bits)
    parts = {
        "qweight": packed(numbers, bits).t().contiguous(),
        "qzeros": _less_one(qzeros, bits) if less_one else qzeros,
        "scales": scales.t().contiguous(),
        "g_idx": groups.int(),
    }
    return parts, again


def awq_layer(weight: Tensor, *, size: int = 32) -> Layer:
    """Return a layer as AutoAWQ stores it for its kernel "gemm"."""
    groups = torch.arange(weight.shape[1]) // (weight.shape[1] if size == -1 else size)
    numbers, zeros, scales, again = _quantised(weight, groups, 4, symmetric=False)

    def interleaved(rows: Tensor) -> Tensor:
        places = torch.arange(rows.shape[1]).view(-1, 8)[:, [0, 2, 4, 6, 1, 3, 5, 7]].flatten()
        return packed(rows[:, places], 4)

    parts = {
        "qweight": interleaved(numbers.t()),
        "qzeros": interleaved(zeros.t()),
        "scales": scales.t().contiguous(),
    }
    return parts, again


def four_bit_layer(weight: Tensor, *, size: int = 64, nested: bool = False) -> Layer:
    """Return a layer as bitsandbytes stores it, with a table of random numbers."""
    source = torch.Generator().manual_seed(2)
    table = torch.rand(16, generator=source).mul(2).sub(1).sort().values
    flat = weight.flatten()
    blocks = [flat[start : start + size] for start in range(0, len(flat), size)]
    factors = torch.stack([block.abs().max() for block in blocks])
    state: dict[str, Any] = {"quant_type": "nf4", "blocksize": size, "dtype": "bfloat16"}
    state["shape"] = list(weight.shape)
    parts = {"weight.quant_map": table, "weight.absmax": factors}
    if nested:
        places = torch.randint(256, (len(blocks),), generator=source)
        second, outer = torch.rand(256, generator=source), torch.rand(-(-len(blocks) // 4))
        factors = second[places] * outer.repeat_interleave(4)[: len(blocks)] + 0.25
        parts["weight.absmax"] = places.byte()
        parts |= {"weight.nested_quant_map": second, "weight.nested_absmax": outer}
        state |= {"nested_blocksize": 4, "nested_offset": 0.25, "nested_dtype": "float32"}
    chosen = [
        (block / factor - table[:, None]).abs().argmin(0)
        for block, factor in zip(blocks, factors, strict=True)
    ]
    numbers = torch.cat(chosen).tolist()
    again = torch.cat([table[c] * f for c, f in zip(chosen, factors, strict=True)])
    pairs = zip(numbers[::2], [*numbers[1::2], 0], strict=False)
    parts["weight"] = torch.tensor([[16 * first + second] for first, second in pairs]).byte()
    said = torch.tensor(list(json.dumps(state).encode())).byte()
    parts["weight.quant_state.bitsandbytes__nf4"] = said
    return parts, again.view(weight.shape)


def write_quantised(
    folder: Path, source: Path, config: Mapping[str, Any], layer: Callable[[Tensor], Layer]
) -> tuple[Path, Path]:
    """Write a checkpoint with all linear layers quantised, and one of the weights it stands for.

    Returns:
        The quantised folder, and the other.
    """
    folders = folder / "quantised", folder / "float"
    for copy in folders:
        shutil.copytree(source, copy)
    plain = load_file(source / "model.safetensors")
    stored: dict[str, Tensor] = {}
    for name, weight in list(plain.items()):
        if name.endswith("proj.weight") or name == "lm_head.weight":
            parts, plain[name] = layer(weight)
            module = name.removesuffix(".weight")
            stored |= {f"{module}.{part}": values for part, values in parts.items()}
        else:
            stored[name] = weight
    for copy, tensors in zip(folders, (stored, plain), strict=True):
        save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    edit_config(folders[0], quantization_config=config)
    return folders


def edit_config(folder: Path, **changes: Any) -> None:
    """Change a checkpoint's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
