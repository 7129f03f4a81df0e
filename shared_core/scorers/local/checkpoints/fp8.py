"""Checkpoints with linear layers in eight-bit floats and a scale for each block of a weight.

They are what transformers and vLLM call ``fp8``: ``….weight`` in F8_E4M3 and
``….weight_scale_inv``, which a block is multiplied by. They are read as the numbers that they stand
for, as transformers does on a CPU (``FineGrainedFP8Config(dequantize=True)``); what is computed
with them is not quantised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.weights import Header, Weights

_SCALE = "_scale_inv"
_EIGHT_BITS = "F8_E4M3"


def is_fp8(stated: Mapping[str, Any]) -> bool:
    """Return whether a config is that of such a checkpoint."""
    described = stated.get("quantization_config")
    return isinstance(described, dict) and described.get("quant_method") == "fp8"


class Fp8Weights:
    """The `Weights` of such a checkpoint, scaled, in float32.

    Args:
        base: The weights of its files.
        stated: The content of its config.
        name: The caller's name for it, for messages.

    Raises:
        UnsupportedModelError: A weight is without its scale, a scale without its weight, or the
            scales do not cover it.
    """

    def __init__(self, base: Weights, stated: Mapping[str, Any], name: str) -> None:
        block = stated["quantization_config"].get("weight_block_size")
        is_read = isinstance(block, list) and len(block) == 2
        is_read = is_read and all(type(size) is int and size > 0 for size in block)
        if not is_read or all(h.dtype != _EIGHT_BITS for h in base.headers.values()):
            raise UnsupportedModelError(
                f"{name!r} is quantised: fp8 (quantization_config in config.json) with "
                f"weight_block_size={block!r}; read are {_EIGHT_BITS} weights in blocks of two "
                'sizes. Give the checkpoint that it was made of, with quantize="int8" for eight '
                "bits on a CPU."
            )
        self._base, self._block = base, (int(block[0]), int(block[1]))
        self._headers: dict[str, Header] = {}
        for tensor, header in base.headers.items():
            if tensor.endswith(_SCALE):
                scaled = base.headers.get(tensor.removesuffix(_SCALE))
                if scaled is None or scaled.dtype != _EIGHT_BITS:
                    raise UnsupportedModelError(f"{name!r} has {tensor}, which scales nothing")
                continue
            if header.dtype == _EIGHT_BITS:
                scale = base.headers.get(f"{tensor}{_SCALE}")
                blocks = tuple(
                    -(-size // step) for size, step in zip(header.shape, self._block, strict=False)
                )
                if scale is None or scale.shape != blocks:
                    found = "no scale" if scale is None else f"a scale of shape {scale.shape}"
                    raise UnsupportedModelError(
                        f"{name!r} has {tensor} in eight bits with {found}; expected {blocks}, by "
                        f"its blocks of {self._block}"
                    )
                header = Header("F32", header.shape)
            self._headers[tensor] = header

    @property
    def headers(self) -> Mapping[str, Header]:
        """Dtype and shape of every tensor; scaled ones are float32."""
        return self._headers

    def read(self, name: str) -> Tensor:
        """Return a tensor, scaled if it is in eight bits."""
        values = self._base.read(name)
        if self._base.headers[name].dtype != _EIGHT_BITS:
            return values
        scale = self._base.read(f"{name}{_SCALE}").float()
        for dimension, step in enumerate(self._block):
            scale = scale.repeat_interleave(step, dimension)
        return values.float() * scale[: values.shape[0], : values.shape[1]]

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        """Return rows of a tensor, Shape (places, …) float32."""
        if self._base.headers[name].dtype == _EIGHT_BITS:
            return self.read(name)[list(places)]
        return self._base.rows(name, places)

    def check_unchanged(self) -> None:
        """Raise if a file was written to since it was opened."""
        self._base.check_unchanged()
