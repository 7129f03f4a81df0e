"""Eight-bit floats, as transformers, vLLM and AutoFP8 call them "fp8".

A layer has ``weight`` in F8_E4M3 and, by ``weight_block_size``, a scale for each block of it,
without that one for each row or for all: ``weight_scale_inv`` or ``weight_scale``, either of which
the weight is multiplied by. Source: transformers ``integrations/finegrained_fp8.py`` and
``fbgemm_fp8.py``, vLLM ``model_executor/layers/quantization/fp8.py``.
"""

from __future__ import annotations

from math import prod

from shared_core.scorers.local.checkpoints.quantised.blocks import Blocks
from shared_core.scorers.local.checkpoints.quantised.eight_bits import FLOAT8, EightBits
from shared_core.scorers.local.checkpoints.quantised.module import Layout, Module
from shared_core.scorers.local.checkpoints.quantised.settings import Settings

_SCALES = ("weight_scale_inv", "weight_scale")


class Fp8:
    """The methods "fp8" and "fbgemm_fp8". See `Method`."""

    parts = ("weight", *_SCALES)

    def __init__(self, settings: Settings) -> None:
        self._size = settings.block("weight_block_size")

    def layout(self, module: Module) -> Layout:
        """Return how a layer's weight is stored. Raises `UnsupportedModelError`."""
        shape = module.matrix("weight", {FLOAT8})
        scale = next((part for part in _SCALES if part in module.parts), _SCALES[0])
        rows, columns = self._size or (1, None)
        stored = module.parts.get(scale)
        if self._size is None and stored is not None and prod(stored.shape) == 1:
            rows = 0
        blocks = Blocks.of(shape, rows, columns)
        return EightBits(module, blocks, scale).checked(f"weight_block_size={self._size}", FLOAT8)
