"""Checkpoints in eight bits, as ``qwen3-rerank quantize`` writes them.

A folder with ``config.json``, ``tokenizer.json`` and safetensors in one file or more. The config is
the source's, but for its ``model_type`` and ``architectures``, "qwen3-rerank-int8", which other
readers do not know, so that they refuse it; transformers would skip the scales. It has a
``quantization_config``:

- ``quant_method``: "qwen3-rerank-int8"; ``version``: 1;
- ``weight_limit``: the largest quantised weight: 127, or 64 for CPUs without VNNI instructions;
- ``source`` and ``source_digest``: the model's name, and the digest of its files;
- ``adapter`` and ``adapter_digest``: those of the adapter that was merged, if there was one.

Tensors, by transformers' names; o are the outputs of a linear layer, i its inputs, w is the width:

- ``model.embed_tokens.weight``: as in the source;
- ``score.weight``: F32 (1, w), the head row of "yes" less that of "no";
- ``model.norm.weight``, ``…self_attn.q_norm.weight``, ``…k_norm.weight``: F32;
- ``….weight`` of the linear layers: I8 (o, i), and ``….weight_scale``: F32 (o,), what a step is
  worth; ``….bias``: F32 (o,) if the model has them;
- ``rotation.signs``: I8 (w,), of the residual stream's rotation (see `rotation`), by which the
  layers are turned. The weights of the layers' other norms are contained in the products.

Loaded, it gives the same bits as ``quantize="int8"`` of its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.checkpoints.tensors import EMBEDDING, FLOATS, LINEAR, read_shapes
from shared_core.scorers.local.checkpoints.weights import Header, Weights, shown
from shared_core.scorers.local.int8 import Quantised, weight_limit

VERSION = 1
SIGNS = "rotation.signs"
# Norms that go into the products which follow them.
FOLDED_NORMS = ("input_layernorm", "post_attention_layernorm")


def check_int8(weights: Weights, config: ModelConfig, stated: Mapping[str, Any], name: str) -> None:
    """Raise unless a checkpoint is exactly as described above, for this CPU.

    Raises:
        UnsupportedModelError: The format differs; the message says in what.
    """
    described = stated["quantization_config"]
    version, limit = described.get("version"), described.get("weight_limit")
    if version != VERSION or limit not in (64, 127):
        raise UnsupportedModelError(
            f"{name!r} is in eight bits by version {version!r} of the format with limit {limit!r}; "
            f"expected version {VERSION}. Quantise its source again, with this version."
        )
    if limit > weight_limit():
        raise UnsupportedModelError(
            f"{name!r} was quantised on a CPU with VNNI instructions, and this one overflows in "
            "such products: run qwen3-rerank quantize on this machine, or use the source"
        )
    expected, found = headers(config, weights.headers.get(EMBEDDING)), weights.headers
    wrong = sorted(
        tensor for tensor in {*expected, *found} if expected.get(tensor) != found.get(tensor)
    )
    if wrong:
        raise UnsupportedModelError(
            f"{name!r} is not what qwen3-rerank quantize writes for its {config.hidden_size} × "
            f"{config.num_hidden_layers} model: missing, unread or of another kind are "
            f"{shown(wrong)}. Quantise its source again."
        )


def headers(config: ModelConfig, embedding: Header | None) -> dict[str, Header]:
    """Return the headers of all tensors of a model in this format."""
    result = {}
    for tensor, shape in read_shapes(replace(config, is_causal=False)).items():
        is_linear = LINEAR.fullmatch(tensor) is not None
        if is_linear and tensor.endswith(".weight"):
            result[tensor] = Header("I8", shape)
            result[f"{tensor}_scale"] = Header("F32", shape[:1])
        elif not any(f"{norm}." in tensor for norm in FOLDED_NORMS):
            result[tensor] = Header("F32", shape)
    if embedding is not None and embedding.dtype in FLOATS:
        result[EMBEDDING] = Header(embedding.dtype, result[EMBEDDING].shape)
    result[SIGNS] = Header("I8", (config.hidden_size,))
    return result


def read_signs(weights: Weights) -> Tensor:
    """Return the signs of the rotation, Shape (w,) float32.

    Raises:
        ModelLoadError: They are others than 1 and −1.
    """
    signs = weights.read(SIGNS).float()
    if not torch.equal(signs.abs(), torch.ones_like(signs)):
        raise ModelLoadError(f"{SIGNS} is damaged: it holds other numbers than 1 and -1")
    return signs


def read_quantised(weights: Weights, layer: str) -> Quantised:
    """Return a linear layer; the tensors are mapped from the file.

    Raises:
        ModelLoadError: A number is out of its bounds.
    """
    weight, scale = weights.read(f"{layer}.weight"), weights.read(f"{layer}.weight_scale")
    low, high = torch.aminmax(weight)
    least, most = torch.aminmax(scale)
    if max(-int(low), int(high)) > weight_limit() or not 0 < float(least) <= float(most) < 1e30:
        raise ModelLoadError(f"{layer}.weight or its scale is damaged: it is out of its bounds")
    bias = f"{layer}.bias"
    return Quantised(weight, scale, weights.read(bias) if bias in weights.headers else None)
