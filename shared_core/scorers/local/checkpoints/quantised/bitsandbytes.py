"""bitsandbytes in four and in eight bits, as transformers saves it.

Four bits ("nf4", "fp4"): ``weight``, U8, has two places in a table of 16 numbers in each byte, the
first in the high bits, row after row. ``weight.quant_map`` is the table, ``weight.absmax`` what
each ``blocksize`` numbers are multiplied by, and ``weight.quant_state.bitsandbytes__nf4`` JSON with
the sizes. With double quantisation ``absmax`` itself is places in ``weight.nested_quant_map``,
which are multiplied by ``weight.nested_absmax``, and ``nested_offset`` is added.

Eight bits: ``weight``, I8 (o, i), times ``SCB`` / 127, Shape (o,); ``weight_format`` is 0 where it
lies row after row.

The numbers are not rounded to the dtype of the first model, as bitsandbytes does. Source: its
``functional.py`` (0.50), ``QuantState.from_dict`` and ``dequantize_4bit``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Tensor

from shared_core.scorers.local.checkpoints.quantised.blocks import Blocks
from shared_core.scorers.local.checkpoints.quantised.eight_bits import INT8
from shared_core.scorers.local.checkpoints.quantised.module import Layout, Module, Wanted, floats
from shared_core.scorers.local.checkpoints.quantised.settings import Settings

_STATES = tuple(f"weight.quant_state.bitsandbytes__{kind}" for kind in ("nf4", "fp4"))
_SIZES = ("blocksize", "nested_blocksize")
_BYTE = frozenset({"U8"})


class BitsAndBytes:
    """The method "bitsandbytes". See `Method`."""

    parts = (
        "weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax",
        "weight.nested_quant_map", *_STATES, "SCB", "weight_format",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        """Nothing is read of the settings: each layer has its own."""

    def layout(self, module: Module) -> Layout:
        """Return how a layer's weight is stored. Raises `UnsupportedModelError`."""
        state = next((part for part in _STATES if part in module.parts), None)
        return _eight(module) if state is None else _four(module, state)


def _eight(module: Module) -> _Eight:
    shape = module.matrix("weight", {INT8})
    wanted = {"weight": Wanted({INT8}, [shape]), "SCB": floats((shape[0],))}
    if "weight_format" in module.parts:
        wanted["weight_format"] = Wanted(_BYTE, [(), (1,)])
    module.check("eight bits", wanted)
    if "weight_format" in module.parts and bool(module.read("weight_format").any()):
        raise module.error("with a weight_format other than row by row (0)")
    return _Eight(module, Blocks.of(shape, 1, None))


@dataclass(frozen=True, slots=True)
class _Eight:
    module: Module
    blocks: Blocks

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape

    def weight(self, outputs: Sequence[int] | None) -> Tensor:
        weight = self.module.read("weight")
        numbers = weight if outputs is None else weight[list(outputs)]
        return self.blocks.scaled(numbers, self.module.read("SCB") / 127, outputs=outputs)


def _four(module: Module, state: str) -> _Four:
    try:
        said = json.loads(bytes(module.read(state).tolist()))
        rows, columns = said["shape"]
        sizes = [said.get(key, 1) for key in _SIZES]
        offset = float(said.get("nested_offset", 0))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise module.error(f"with a damaged {state}: {error}") from error
    if any(type(size) is not int or not 0 < size < 2**31 for size in (rows, columns, *sizes)):
        raise module.error(f"with sizes in {state} that are no sizes: {said}")
    n_blocks = ceil(rows * columns / sizes[0])
    n_bytes = ceil(rows * columns / 2)
    wanted = {
        "weight": Wanted(_BYTE, [(n_bytes, 1), (1, n_bytes)]),
        "weight.quant_map": floats((16,)),
        "weight.absmax": floats((n_blocks,)),
        state: Wanted(_BYTE, [module.parts[state].shape]),
    }
    is_nested = "nested_blocksize" in said
    if is_nested:
        wanted["weight.absmax"] = Wanted(_BYTE, [(n_blocks,)])
        wanted["weight.nested_absmax"] = floats((ceil(n_blocks / sizes[1]),))
        wanted["weight.nested_quant_map"] = floats((256,))
    module.check(f"shape={[rows, columns]}, blocksize={sizes[0]}", wanted)
    return _Four(module, (rows, columns), sizes[0], sizes[1] if is_nested else None, offset)


@dataclass(frozen=True, slots=True)
class _Four:
    module: Module
    shape: tuple[int, int]
    size: int
    nested_size: int | None
    offset: float

    def weight(self, outputs: Sequence[int] | None) -> Tensor:
        read = self.module.read
        packed, factors = read("weight").flatten(), read("weight.absmax")
        if self.nested_size is not None:
            factors = _looked_up(
                factors, read("weight.nested_quant_map"), read("weight.nested_absmax"),
                self.nested_size,
            ) + self.offset  # fmt: skip
        places = torch.stack([packed >> 4, packed & 15], 1).flatten()[: prod(self.shape)]
        weight = _looked_up(places, read("weight.quant_map"), factors, self.size).view(self.shape)
        return weight if outputs is None else weight[list(outputs)]


def _looked_up(places: Tensor, table: Tensor, factors: Tensor, size: int) -> Tensor:
    """Return numbers of a table, each ``size`` of them times a factor, Shape (n,) float32."""
    numbers = table.float()[places.int()]
    return numbers.mul_(factors.float().repeat_interleave(size)[: len(numbers)])
