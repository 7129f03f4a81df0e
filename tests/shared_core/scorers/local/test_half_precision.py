"""Products in float16, as on cards without bfloat16: a margin stays a number whatever they hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.checkpoints import ModelWeights, model_config, random_config
from support.packs import random_pack
from torch import Tensor
from transformers import Qwen3Model

from shared_core.scorers.local.attention import TiledAttention
from shared_core.scorers.local.building import build_backbone

CPU = torch.device("cpu")
MOST = torch.finfo(torch.float16).max
PACK = random_pack([[20, 9, 30]], [10], 0)


def hidden(model: Qwen3Model, dtype: torch.dtype) -> Tensor:
    """Return the last hidden states as on a device that has no products but plain ones."""
    with torch.inference_mode():
        return build_backbone(
            model_config(model.config),
            ModelWeights(model),
            CPU,
            dtype,
            attention=TiledAttention(4, CPU),
        ).last_hidden(PACK)


@pytest.fixture
def model() -> Qwen3Model:
    torch.manual_seed(0)
    return Qwen3Model(random_config(300)).eval().requires_grad_(False)


def test_the_residual_may_be_larger_than_float16_holds(model: Qwen3Model) -> None:
    """Nothing is lost of it, since it is float32."""
    model.embed_tokens.weight.mul_(1e7)
    assert model.embed_tokens.weight.abs().max() > MOST
    found, expected = hidden(model, torch.float16), hidden(model, torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("projection", "atol"),
    [
        *(("mlp.down_proj", 0.02), ("self_attn.o_proj", 0.02)),
        *(("mlp.gate_proj", 0.05), ("mlp.up_proj", 0.05)),
        *(("self_attn.q_proj", 0.05), ("self_attn.k_proj", 0.05)),
        ("self_attn.v_proj", 2.0),  # the values of a head are mixed by their size, which is lost
    ],
)
def test_a_product_that_float16_cannot_hold_leaves_a_number(
    model: Qwen3Model, projection: str, atol: float
) -> None:
    """One channel of a layer is far larger than the others; it stays the largest."""
    model.get_submodule(f"layers.1.{projection}").weight[5].mul_(1e5)
    found, expected = hidden(model, torch.float16), hidden(model, torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def everywhere(model: Qwen3Model) -> None:
    for layer in model.layers:
        layer.mlp.gate_proj.weight.mul_(500)
        layer.mlp.up_proj.weight.mul_(500)


def at_the_end(model: Qwen3Model) -> None:
    model.layers[-1].self_attn.o_proj.weight.mul_(1e5)
    model.layers[-1].mlp.down_proj.weight.mul_(1e5)


@pytest.mark.parametrize("enlarged", [everywhere, at_the_end])
def test_nor_does_every_product_that_it_cannot_hold(
    model: Qwen3Model, enlarged: Callable[[Qwen3Model], None]
) -> None:
    enlarged(model)
    assert hidden(model, torch.float16).isfinite().all()
