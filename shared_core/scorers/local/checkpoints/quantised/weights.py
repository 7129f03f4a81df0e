"""The weights of a quantised checkpoint in float32, computed layer by layer as they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from shared_core.errors import UnsupportedModelError
from shared_core.scorers.local.checkpoints.files import QUANTISED_ADVICE, stated_quantisation
from shared_core.scorers.local.checkpoints.quantised.awq import Awq
from shared_core.scorers.local.checkpoints.quantised.bitsandbytes import BitsAndBytes
from shared_core.scorers.local.checkpoints.quantised.compressed_tensors import CompressedTensors
from shared_core.scorers.local.checkpoints.quantised.fp8 import Fp8
from shared_core.scorers.local.checkpoints.quantised.gptq import Gptq
from shared_core.scorers.local.checkpoints.quantised.module import Layout, Method, Module
from shared_core.scorers.local.checkpoints.quantised.settings import Settings
from shared_core.scorers.local.checkpoints.tensors import FLOATS
from shared_core.scorers.local.checkpoints.weights import Header, Weights

_METHODS: dict[str, Callable[[Settings], Method]] = {
    "awq": Awq,
    "bitsandbytes": BitsAndBytes,
    "compressed-tensors": CompressedTensors,
    "fbgemm_fp8": Fp8,
    "fp8": Fp8,
    "gptq": Gptq,
}
# Of quantised activations and caches, which are computed as floats here.
_ACTIVATIONS = frozenset({
    "input_scale", "input_scale_ub", "input_zero_point", "output_scale", "output_zero_point",
    "activation_scale", "q_scale", "k_scale", "v_scale",
})  # fmt: skip


def is_read(stated: Mapping[str, Any]) -> bool:
    """Return whether a config names a quantisation that is read here."""
    return str(stated_quantisation(stated).get("quant_method")) in _METHODS


class QuantisedWeights:
    """The `Weights` of a quantised checkpoint, as the numbers that they stand for.

    Args:
        base: The weights of its files.
        stated: The content of its config, of which `is_read` holds.
        model: The caller's name for it, for messages.

    Raises:
        UnsupportedModelError: A setting is not read, or tensors do not fit the settings.
    """

    def __init__(self, base: Weights, stated: Mapping[str, Any], model: str) -> None:
        self._base = base
        described = stated_quantisation(stated)
        kind = described["quant_method"]
        method = _METHODS[kind](Settings(described, kind, model))
        self._headers: dict[str, Header] = {}
        modules: dict[str, dict[str, Header]] = {}
        for tensor, header in base.headers.items():
            part = next((part for part in method.parts if tensor.endswith(f".{part}")), None)
            if part is not None:
                modules.setdefault(tensor.removesuffix(f".{part}"), {})[part] = header
            elif tensor.rpartition(".")[2] not in _ACTIVATIONS:
                self._headers[tensor] = header
        self._layouts: dict[str, Layout] = {}
        for name, parts in modules.items():
            weight = f"{name}.weight"
            if parts.keys() == {"weight"} and parts["weight"].dtype in FLOATS:
                self._headers[weight] = parts["weight"]
                continue
            layout = method.layout(Module(model, kind, name, parts, self._reader(name)))
            self._layouts[weight], self._headers[weight] = layout, Header("F32", layout.shape)
        if not self._layouts:
            raise UnsupportedModelError(
                f"{model!r} is quantised: {kind} (quantization_config in config.json), and none of "
                f"its tensors is: one of them is of another checkpoint. {QUANTISED_ADVICE}"
            )

    @property
    def headers(self) -> Mapping[str, Header]:
        """Dtype and shape of every tensor; quantised ones are float32."""
        return self._headers

    def read(self, name: str) -> Tensor:
        """Return a tensor, as float32 if it is quantised."""
        layout = self._layouts.get(name)
        return self._base.read(name) if layout is None else layout.weight(None)

    def rows(self, name: str, places: Sequence[int]) -> Tensor:
        """Return rows of a tensor, Shape (places, …) float32."""
        layout = self._layouts.get(name)
        return self._base.rows(name, places) if layout is None else layout.weight(places)

    def check_unchanged(self) -> None:
        """Raise if a file was written to since it was opened."""
        self._base.check_unchanged()

    def _reader(self, module: str) -> Callable[[str], Tensor]:
        return lambda part: self._base.read(f"{module}.{part}")
