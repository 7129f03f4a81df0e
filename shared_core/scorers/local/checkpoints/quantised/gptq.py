"""GPTQ, as AutoGPTQ and GPTQModel write it.

A layer has o outputs and i inputs, in groups of inputs g; numbers of ``bits`` bits fill 32-bit
words without gaps, low bits first:

- ``qweight``: I32 (i · bits / 32, o), packed along the inputs;
- ``qzeros``: I32 (g, o · bits / 32), packed along the outputs: what stands for 0. In the format
  "gptq" 1 was taken from each, by a subtraction from whole words, so that a 0 borrows of the next;
- ``scales``: (g, o);
- ``g_idx``: I32 (i,), the group of each input. By ``desc_act`` these need not be neighbours.

A weight is ``(number − zero) · scale``. Source: GPTQModel ``nn_modules/qlinear/__init__.py`` and
``convert_gptq_v1_to_v2_format_module`` in ``utils/model.py``; AutoGPTQ writes the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from shared_core.scorers.local.checkpoints.quantised.blocks import Blocks
from shared_core.scorers.local.checkpoints.quantised.module import (
    Layout,
    Module,
    floats,
    integers,
    words,
)
from shared_core.scorers.local.checkpoints.quantised.packing import n_words, unpacked
from shared_core.scorers.local.checkpoints.quantised.settings import Settings

_FORMATS = ("gptq", "gptq_v2")


@dataclass(frozen=True, slots=True)
class _Kind:
    """The settings of a layer; ``size`` is that of its groups, ``None`` for a single one."""

    bits: int
    size: int | None
    is_symmetric: bool
    has_order: bool

    def __str__(self) -> str:
        return f"bits={self.bits}, group_size={self.size or -1}, desc_act={self.has_order}"


class Gptq:
    """The method "gptq". See `Method`."""

    parts = ("qweight", "qzeros", "scales", "g_idx", "weight")

    def __init__(self, settings: Settings) -> None:
        settings.refuse("rotation", "adapter", "is_marlin_format")
        older = settings.among("checkpoint_format", _FORMATS[0], _FORMATS)
        form = settings.among("format", older, _FORMATS)
        if settings.stated.get("checkpoint_format") not in (None, form):
            raise settings.unread("format", form, f"checkpoint_format={older!r}")
        self._is_less = form == "gptq"
        self._kind = _kind(settings)
        # GPTQModel's settings of layers whose names begin with a pattern; after "-:" it has none.
        self._own: list[tuple[re.Pattern[str], _Kind | None]] = []
        dynamic = settings.part("dynamic")
        for key in dynamic.stated:
            own = dynamic.part(key)
            kind = _kind(Settings({**settings.stated, **own.stated}, own.where, own.model))
            pattern = dynamic.pattern("dynamic", re.sub("^[+-]:", "", key))
            self._own.append((pattern, None if key.startswith("-:") else kind))

    def layout(self, module: Module) -> Layout:
        """Return how a layer's weight is stored. Raises `UnsupportedModelError`."""
        matching = (kind for pattern, kind in self._own if pattern.match(module.name))
        kind = next(matching, self._kind)
        if kind is None:
            raise module.error("in packed numbers, and in config.json excluded (dynamic)")
        n_packed, n_outputs = module.matrix("qweight", {"I32"})
        n_inputs = n_packed * 32 // kind.bits
        blocks = Blocks.of((n_outputs, n_inputs), 1, kind.size)
        n_groups = blocks.counts[1]
        wanted = {
            "qweight": words(n_words(n_inputs, kind.bits), n_outputs),
            "qzeros": words(n_groups, n_words(n_outputs, kind.bits)),
            "scales": floats((n_groups, n_outputs)),
        }
        if kind.has_order or "g_idx" in module.parts:
            wanted["g_idx"] = integers((n_inputs,))
        module.check(str(kind), wanted)
        return _Packed(module, blocks, kind, self._is_less)


def _kind(settings: Settings) -> _Kind:
    return _Kind(
        settings.among("bits", None, (2, 4, 8)),
        settings.group_size(128),
        settings.among("sym", True, (True, False)),
        settings.among("desc_act", False, (True, False)),
    )


@dataclass(frozen=True, slots=True)
class _Packed:
    module: Module
    blocks: Blocks
    kind: _Kind
    are_zeros_less: bool

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape

    def weight(self, outputs: Sequence[int] | None) -> Tensor:
        bits, read = self.kind.bits, self.module.read
        packed = read("qweight") if outputs is None else read("qweight")[:, list(outputs)]
        packed_zeros = read("qzeros")
        if self.are_zeros_less:
            packed_zeros = packed_zeros + sum(1 << shift for shift in range(0, 32, bits))
        zeros = unpacked(packed_zeros, bits, self.shape[0])
        if self.kind.is_symmetric and bool((zeros != 1 << (bits - 1)).any()):
            raise self.module.error(
                "with qzeros that are not those of symmetric numbers, as config.json says (sym)"
            )
        groups = None
        if "g_idx" in self.module.parts:
            groups = self.module.groups("g_idx", self.blocks.size[1])
        numbers = unpacked(packed.t().contiguous(), bits, self.shape[1])
        return self.blocks.scaled(numbers, read("scales").t(), zeros.t(), outputs, groups)
