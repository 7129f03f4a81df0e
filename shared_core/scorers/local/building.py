"""Building of a backbone from weights, layer by layer: few tensors are in memory twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from shared_core.errors import ConfigurationError
from shared_core.scorers.local.attention import Attention
from shared_core.scorers.local.backbone import Backbone, Layer
from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.checkpoints.int8_format import (
    FOLDED_NORMS,
    SIGNS,
    read_quantised,
    read_signs,
)
from shared_core.scorers.local.checkpoints.weights import Weights, read_finite
from shared_core.scorers.local.elementwise import Elementwise
from shared_core.scorers.local.embedding import read_embedding
from shared_core.scorers.local.int8 import Quantised, project_int8, quantised, weight_limit
from shared_core.scorers.local.memory import give_back
from shared_core.scorers.local.projection import Linear, Projection, best_projection
from shared_core.scorers.local.rotation import LayerRotation, Rotation
from shared_core.scorers.local.threads import each

_Q, _K, _V, _O = (f"self_attn.{letter}_proj" for letter in "qkvo")
_GATE, _UP, _DOWN = (f"mlp.{part}_proj" for part in ("gate", "up", "down"))
_INPUT_NORM, _MLP_NORM = FOLDED_NORMS
LINEARS = (_Q, _K, _V, _O, _GATE, _UP, _DOWN)
"""The linear layers of a decoder layer."""


def build_backbone(
    config: ModelConfig,
    weights: Weights,
    device: torch.device,
    dtype: torch.dtype,
    *,
    threads: int = 1,
    quantize: bool = False,
    attention: Attention | None = None,
    elementwise: Elementwise | None = None,
) -> Backbone:
    """Return the model without its head.

    Args:
        config: The sizes of the model.
        weights: The weights, already checked for completeness.
        device: The device that computes.
        dtype: The dtype of matrix products; norms are float32 anyway.
        threads: Layers that are made at the same time.
        quantize: Compute matrix products in eight bits, on a CPU; see `int8`.
        attention: The attention; ``None`` chooses it by device and dtype.
        elementwise: The work between the products; ``None`` chooses it likewise.

    Raises:
        ModelLoadError: A weight cannot be read, is not finite, or too large for the dtype.
        ConfigurationError: There are no eight-bit products on this device.
    """
    parts: _Parts
    if not quantize:
        parts = _PlainParts(weights, device, dtype)
    elif device.type != "cpu":
        raise ConfigurationError(
            f'quantize="int8" is for CPUs, the model is on {device}: there bfloat16 is fast'
        )
    elif SIGNS in weights.headers:
        parts = _StoredParts(config, weights)
    else:
        parts = RotatedParts(config, weights, weight_limit())

    def layer(number: int) -> Layer:
        made = _layer(parts, f"model.layers.{number}.", config.head_dim)
        give_back()
        return made

    layers = each(layer, range(config.num_hidden_layers), threads)
    return Backbone(
        config,
        read_embedding(weights, device, dtype),
        layers,
        parts.norm("model.", "norm"),
        dtype=dtype,
        stream=parts.stream,
        attention=attention,
        elementwise=elementwise,
    )


class _Parts(Protocol):
    """The parts of a layer, in the form that computes them."""

    @property
    def stream(self) -> Rotation | None:
        """The rotation of the residual stream that they are turned for."""

    def norm(self, layer: str, name: str) -> Tensor:
        """Return the weight of a norm, float32."""

    def projection(self, layer: str, *names: str) -> Projection:
        """Return the projection of linear layers over the same input."""


def _layer(parts: _Parts, layer: str, d: int) -> Layer:
    return Layer(
        input_norm=parts.norm(layer, _INPUT_NORM),
        qkv=parts.projection(layer, _Q, _K, _V),
        query_norm=parts.norm(layer, "self_attn.q_norm") * d**-0.5,
        key_norm=parts.norm(layer, "self_attn.k_norm"),
        output=parts.projection(layer, _O),
        mlp_norm=parts.norm(layer, _MLP_NORM),
        gate_up=parts.projection(layer, _GATE, _UP),
        down=parts.projection(layer, _DOWN),
    )


class _PlainParts:
    """Weights as they are, in the dtype and on the device of the computation."""

    stream = None

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
        self._weights, self._device, self._dtype = weights, device, dtype
        self._project = best_projection(device, dtype)

    def norm(self, layer: str, name: str) -> Tensor:
        return read_finite(self._weights, f"{layer}{name}.weight").float().to(self._device)

    def projection(self, layer: str, *names: str) -> Projection:
        return self._project(self._moved(f"{layer}{name}") for name in names)

    def _moved(self, name: str) -> Linear:
        weight, bias = _linear(self._weights, name, self._dtype)
        return Linear(self._to(weight), None if bias is None else self._to(bias))

    def _to(self, values: Tensor) -> Tensor:
        return values.to(self._dtype).to(self._device)


class RotatedParts:
    """Weights turned and quantised, for a rotated residual stream.

    Args:
        config: The model's sizes.
        weights: The weights of the model.
        limit: The largest quantised weight.
    """

    def __init__(self, config: ModelConfig, weights: Weights, limit: int) -> None:
        cpu = torch.device("cpu")
        self.stream = Rotation(config.hidden_size, cpu)
        self._rotation = LayerRotation(self.stream, Rotation(config.head_dim, cpu))
        self._weights, self._limit = weights, limit

    def norm(self, layer: str, name: str) -> Tensor:
        """Return the weight of a norm, float32: ones, if the products contain it."""
        weight = read_finite(self._weights, f"{layer}{name}.weight").float()
        return torch.ones_like(weight) if name in FOLDED_NORMS else weight

    def projection(self, layer: str, *names: str) -> Projection:
        """Return the projection of linear layers over the same input."""
        return project_int8(self.quantised(layer, names))

    def quantised(self, layer: str, names: Sequence[str]) -> Iterator[Quantised]:
        """Yield linear layers of a decoder layer in eight bits."""
        return (quantised(linear, self._limit) for linear in self._turned(layer, names))

    def _turned(self, layer: str, names: Sequence[str]) -> Iterator[Linear]:
        for name in names:
            linear = _linear(self._weights, f"{layer}{name}")
            if name == _O:
                yield self._rotation.output(linear)
            elif name == _DOWN:
                yield self._rotation.writer(linear)
            else:
                norm = _INPUT_NORM if name in (_Q, _K, _V) else _MLP_NORM
                turn = self._rotation.values if name == _V else self._rotation.reader
                yield turn(linear, self._weights.read(f"{layer}{norm}.weight"))


class _StoredParts:
    """Weights that were turned and quantised when their checkpoint was written."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self.stream = Rotation(config.hidden_size, torch.device("cpu"), read_signs(weights))
        self._weights, self._width = weights, config.hidden_size

    def norm(self, layer: str, name: str) -> Tensor:
        if name in FOLDED_NORMS:
            return torch.ones(self._width, dtype=torch.float32)
        return read_finite(self._weights, f"{layer}{name}.weight").clone()

    def projection(self, layer: str, *names: str) -> Projection:
        return project_int8(read_quantised(self._weights, f"{layer}{name}") for name in names)


def _linear(weights: Weights, name: str, dtype: torch.dtype = torch.float32) -> Linear:
    bias = f"{name}.bias"
    return Linear(
        read_finite(weights, f"{name}.weight", dtype),
        read_finite(weights, bias, dtype) if bias in weights.headers else None,
    )
