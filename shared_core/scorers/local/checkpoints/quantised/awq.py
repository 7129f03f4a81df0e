"""AWQ, as AutoAWQ writes it for its kernel "gemm".

A layer has o outputs and i inputs, in groups of neighbouring inputs g; eight numbers of four bits
fill a 32-bit word, low bits first, in the order of the outputs 0, 2, 4, 6, 1, 3, 5, 7:

- ``qweight``: I32 (i, o / 8);
- ``qzeros``: I32 (g, o / 8): what stands for 0;
- ``scales``: (g, o).

A weight is ``(number − zero) · scale``. Source: AutoAWQ ``awq/modules/linear/gemm.py`` and
``awq/utils/packing_utils.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from shared_core.scorers.local.checkpoints.quantised.blocks import Blocks
from shared_core.scorers.local.checkpoints.quantised.module import Layout, Module, floats, words
from shared_core.scorers.local.checkpoints.quantised.packing import unpacked
from shared_core.scorers.local.checkpoints.quantised.settings import Settings

_BITS, _PER_WORD = 4, 8
# Where in a word each of eight neighbouring outputs lies.
_PLACES = [0, 4, 1, 5, 2, 6, 3, 7]
_OLDER = {"w_bit": "bits", "q_group_size": "group_size", "version": "format"}


class Awq:
    """The method "awq". See `Method`."""

    parts = ("qweight", "qzeros", "scales", "weight")

    def __init__(self, settings: Settings) -> None:
        named = {_OLDER.get(key, key): value for key, value in settings.stated.items()}
        settings = Settings(named, settings.where, settings.model)
        settings.among("bits", None, (_BITS,))
        for key in ("format", "checkpoint_format"):
            settings.among(key, "gemm", ("gemm", "GEMM"))
        self._size = settings.group_size(128)

    def layout(self, module: Module) -> Layout:
        """Return how a layer's weight is stored. Raises `UnsupportedModelError`."""
        n_inputs, n_packed = module.matrix("qweight", {"I32"})
        blocks = Blocks.of((n_packed * _PER_WORD, n_inputs), 1, self._size)
        n_outputs, n_groups = blocks.counts
        module.check(
            f"bits={_BITS}, group_size={self._size or -1}",
            {
                "qweight": words(n_inputs, n_packed),
                "qzeros": words(n_groups, n_packed),
                "scales": floats((n_groups, n_outputs)),
            },
        )
        return _Packed(module, blocks)


@dataclass(frozen=True, slots=True)
class _Packed:
    module: Module
    blocks: Blocks

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks.shape

    def weight(self, outputs: Sequence[int] | None) -> Tensor:
        read = self.module.read
        numbers = _by_output(read("qweight"), outputs)
        zeros = _by_output(read("qzeros"), None)
        return self.blocks.scaled(numbers, read("scales").t(), zeros, outputs)


def _by_output(packed: Tensor, outputs: Sequence[int] | None) -> Tensor:
    """Return the numbers of some outputs, or of all: Shape (n, words) → (outputs, n) uint8."""
    if outputs is not None:
        packed = packed[:, [output // _PER_WORD for output in outputs]]
    numbers = unpacked(packed.t().contiguous()[..., None], _BITS, _PER_WORD)[..., _PLACES]
    if outputs is not None:
        return numbers[range(len(outputs)), :, [output % _PER_WORD for output in outputs]]
    return numbers.transpose(1, 2).flatten(0, 1)
