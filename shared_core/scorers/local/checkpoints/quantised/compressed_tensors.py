"""compressed-tensors, as llm-compressor writes it for vLLM.

A layer has o outputs and i inputs. ``config_groups`` say for which layers numbers have ``num_bits``
bits of ``type``, and what shares a scale (``strategy``): all of a weight, a row ("channel"),
``group_size`` inputs of a row, or a block.

- "int-quantized", "float-quantized", "naive-quantized": ``weight`` in I8 or F8_E4M3,
  ``weight_scale``, and unless it is symmetric ``weight_zero_point`` in the weight's dtype;
- "pack-quantized": ``weight_packed``, I32 (o, i · bits / 32), of numbers plus half their range,
  without gaps, low bits first; ``weight_shape``; ``weight_scale``; ``weight_zero_point``, packed
  likewise along the outputs, in older files I8; with ``actorder`` "group" ``weight_g_idx``,
  I32 (i,), the group of each input, or −1 for all where they are neighbours.

A weight is ``(number − zero point) · scale``. Source: the package's ``compressors`` and
``quantization/lifecycle`` (0.20), which the tests compare this with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.quantised.blocks import Blocks
from shared_core.scorers.local.checkpoints.quantised.eight_bits import FLOAT8, INT8, EightBits
from shared_core.scorers.local.checkpoints.quantised.module import (
    Layout,
    Module,
    Wanted,
    floats,
    integers,
    words,
)
from shared_core.scorers.local.checkpoints.quantised.packing import n_words, unpacked
from shared_core.scorers.local.checkpoints.quantised.settings import Settings

_PACKED = "pack-quantized"
_FORMATS = (_PACKED, "int-quantized", "float-quantized", "naive-quantized")
_MIXED = "mixed-precision"
_ZEROS = "weight_zero_point"


@dataclass(frozen=True, slots=True)
class _Group:
    """What layers have in common.

    Attributes:
        targets: Names of layers or of their class, or patterns after "re:".
        format: One of `_FORMATS`.
        bits: The bits of a number.
        is_float: Whether numbers are floats.
        is_symmetric: Whether 0 stands for 0.
        size: The rows and columns that share a scale, where 0 is all.
        has_order: Whether the inputs of a group need not be neighbours.
    """

    targets: tuple[str, ...]
    format: str
    bits: int
    is_float: bool
    is_symmetric: bool
    size: tuple[int, int]
    has_order: bool

    def __str__(self) -> str:
        return f"format={self.format}, num_bits={self.bits}, a scale for {self.size} (0: all)"


class CompressedTensors:
    """The method "compressed-tensors". See `Method`."""

    parts = (
        "weight", "weight_packed", "weight_shape", "weight_scale", _ZEROS, "weight_g_idx",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        settings.refuse("transform_config")
        settings.part("sparsity_config").among("format", "dense", ("dense",))
        self._ignored = settings.names("ignore")
        common = settings.among("format", _MIXED, (*_FORMATS, _MIXED))
        groups = settings.part("config_groups")
        self._groups = [
            _group(groups.part(name), common)
            for name in groups.stated
            if groups.part(name).stated.get("weights") is not None
        ]

    def layout(self, module: Module) -> Layout:
        """Return how a layer's weight is stored. Raises `UnsupportedModelError`."""
        group = self._group_of(module)
        zeros = "" if group.is_symmetric and _ZEROS not in module.parts else _ZEROS
        if group.format == _PACKED:
            return _packed(module, group, zeros)
        dtype = FLOAT8 if group.is_float else INT8
        blocks = Blocks.of(module.matrix("weight", {dtype}), *group.size)
        layout = EightBits(module, blocks, "weight_scale", zeros).checked(str(group), dtype)
        if zeros and group.is_symmetric and bool(module.read(zeros).float().any()):
            raise _contradiction(module)
        return layout

    def _group_of(self, module: Module) -> _Group:
        """Return a layer's settings: its name goes before a pattern, and that before its class."""
        if any(_match(target, module.name) for target in self._ignored):
            raise module.error("in quantised numbers, and in config.json under ignore")
        found = [
            (place, group)
            for group in self._groups
            for target in group.targets
            if (place := _match(target, module.name))
        ]
        if not found:
            raise module.error("in quantised numbers, for which no config_groups are")
        return min(found, key=lambda match: match[0])[1]


def _match(target: str, module: str) -> int:
    """Return how a target names a layer: 1 by name, 2 by pattern, 3 by class, 0 not at all."""
    if target.startswith("re:"):
        return 2 if re.match(target.removeprefix("re:"), module) else 0
    if target == ("Embedding" if module.endswith("embed_tokens") else "Linear"):
        return 3
    return int(target == module)


def _group(settings: Settings, common: str) -> _Group:
    form = settings.among("format", None if common == _MIXED else common, _FORMATS)
    weights = settings.part("weights")
    is_float = weights.among("type", "int", ("int",) if form == _PACKED else ("int", "float"))
    size, block = weights.group_size(None), weights.block("block_structure")
    inferred = "tensor" if weights.stated.get("group_size") is None else "channel"
    strategy = weights.among(
        "strategy", "group" if size else inferred, ("tensor", "channel", "group", "block")
    )
    if (strategy == "group", strategy == "block") != (size is not None, block is not None):
        raise weights.unread("strategy", strategy, "one with its group_size or block_structure")
    order = weights.stated.get("actorder")
    return _Group(
        settings.names("targets"),
        form,
        weights.among("num_bits", 8, range(1, 9)),
        is_float == "float",
        weights.among("symmetric", True, (True, False)),
        block or ((0, 0) if strategy == "tensor" else (1, size or 0)),
        order is True or str(order).lower() in ("group", "dynamic"),
    )


def _packed(module: Module, group: _Group, zeros: str) -> _Packed:
    rows, _ = module.matrix("weight_packed", {"I32"})
    sizes = module.parts.get("weight_shape")
    if sizes is None or sizes.shape != (2,) or sizes.dtype not in integers((2,)).dtypes:
        raise module.error("without a weight_shape of two whole numbers")
    shape = tuple(int(size) for size in module.read("weight_shape"))
    if shape[0] != rows or not 0 < shape[1] < 2**31:
        raise module.error(f"with weight_shape {shape} for {rows} rows of weight_packed")
    blocks = Blocks.of((rows, shape[1]), *group.size)
    n_rows, n_groups = blocks.counts
    wanted = {
        "weight_packed": words(rows, n_words(shape[1], group.bits)),
        "weight_shape": integers((2,)),
        "weight_scale": floats(*blocks.stored_shapes()),
    }
    are_packed = zeros in module.parts and module.parts[zeros].dtype == "I32"
    if are_packed:
        wanted[zeros] = words(n_words(n_rows, group.bits), n_groups)
    elif zeros:
        wanted[zeros] = Wanted({"I8"}, blocks.stored_shapes())
    if (group.has_order and n_groups > 1) or "weight_g_idx" in module.parts:
        wanted["weight_g_idx"] = integers((shape[1],))
    module.check(str(group), wanted)
    return _Packed(module, blocks, group, zeros, are_packed)


@dataclass(frozen=True, slots=True)
class _Packed:
    module: Module
    blocks: Blocks
    group: _Group
    zeros: str
    are_zeros_packed: bool

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape

    def weight(self, outputs: Sequence[int] | None) -> Tensor:
        bits, read = self.group.bits, self.module.read
        packed = read("weight_packed") if outputs is None else read("weight_packed")[list(outputs)]
        scales = read("weight_scale")
        zeros = scales.new_zeros(self.blocks.counts, dtype=torch.float32)
        if self.are_zeros_packed:
            by_group = read(self.zeros).t().contiguous()
            zeros = unpacked(by_group, bits, self.blocks.counts[0]).t().float() - self._half
        elif self.zeros:
            zeros = read(self.zeros).float()
        if self.group.is_symmetric and bool(zeros.any()):
            raise _contradiction(self.module)
        groups = None
        if "weight_g_idx" in self.module.parts and bool((read("weight_g_idx") >= 0).any()):
            groups = self.module.groups("weight_g_idx", self.blocks.size[1])
        numbers = unpacked(packed, bits, self.shape[1])
        return self.blocks.scaled(numbers, scales, zeros + self._half, outputs, groups)

    @property
    def _half(self) -> int:
        return 1 << (self.group.bits - 1)


def _contradiction(module: Module) -> UnsupportedModelError:
    return module.error(f"with {_ZEROS} other than 0, and config.json says that it is symmetric")
