"""The fused element-wise kernels, in Triton's interpreter: what torch's operators compute.

Compiled ones need a GPU (``tests/gpu``).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.checkpoints import ModelWeights, model_config, random_config
from support.packs import kernel, random_pack
from torch import Tensor
from transformers import Qwen3Model

from shared_core.scorers.local import backbone, elementwise_trial
from shared_core.scorers.local.block_attention import BlockAttention
from shared_core.scorers.local.building import build_backbone
from shared_core.scorers.local.checkpoints.config import ModelConfig
from shared_core.scorers.local.elementwise import (
    Elementwise,
    HeadShape,
    PlainElementwise,
)
from shared_core.scorers.local.elementwise_trial import choose_elementwise, tried
from shared_core.scorers.local.flash import FlashAttention

pytest.importorskip("triton", reason="needs triton, as in requirements-dev.txt for Linux")
if torch.cuda.is_available():
    pytest.skip("kernels are compiled here: run `make test-gpu`", allow_module_level=True)

from shared_core.scorers.local.fused import FusedElementwise

CPU = torch.device("cpu")
EPS = 1e-6
# One unit in the last place of values up to 16, and what is between.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 0.008, torch.bfloat16: 0.07}


def config(h: int = 4, g: int = 2, d: int = 32, width: int = 64, inner: int = 96) -> ModelConfig:
    small = model_config(Qwen3Model(random_config(300)).config)
    return replace(
        small,
        num_attention_heads=h,
        num_key_value_heads=g,
        head_dim=d,
        hidden_size=width,
        intermediate_size=inner,
        rms_norm_eps=EPS,
    )


def both(one: ModelConfig, dtype: torch.dtype) -> tuple[Elementwise, Elementwise]:
    shape = HeadShape(one.num_attention_heads, one.num_key_value_heads, one.head_dim)
    return FusedElementwise(shape, EPS, dtype), PlainElementwise(shape, EPS, dtype)


@given(
    heads=st.sampled_from([(1, 1), (5, 1), (6, 3), (16, 8), (12, 4)]),
    half=st.sampled_from([4, 12, 16, 64]),
    width=st.integers(1, 300),
    inner=st.integers(1, 2100),
    tokens=st.integers(1, 7),
    dtype=st.sampled_from(list(TOLERANCE)),
)
@settings(max_examples=40, deadline=None)
def test_the_kernels_compute_what_torchs_operators_do(
    heads: tuple[int, int], half: int, width: int, inner: int, tokens: int, dtype: torch.dtype
) -> None:
    """Sizes that fill no block, too."""
    one = config(*heads, 2 * half, width, inner)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elementwise_trial, "_TRIAL_TOKENS", tokens)
        ours, theirs = (
            list(elementwise_trial._trial(which, one, CPU, dtype)) for which in both(one, dtype)
        )
    assert [values.dtype for values in ours] == [
        torch.float32 if place == 2 else dtype for place in range(len(ours))
    ]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(
            mine.float(), other.float(), rtol=TOLERANCE[dtype] / 8, atol=TOLERANCE[dtype]
        )


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_what_float16_cannot_hold_is_its_largest_number() -> None:
    """As with torch's operators: in every place where a product goes in or comes out."""
    one, dtype, most = config(), torch.float16, torch.finfo(torch.float16).max
    source = torch.Generator().manual_seed(2)

    def product(width: int, *infinite: int) -> Tensor:
        values = torch.randn(3, width, generator=source).to(dtype)
        values[1, list(infinite)] = torch.tensor([torch.inf, -torch.inf], dtype=dtype)
        return values

    output, gate, up = product(64, 3, 9), product(96, 1, 2), product(96, 2, 5)
    large = torch.full((3, 96), 1000, dtype=dtype)
    heads = [product(128, 0, 40), product(64, 7, 33), product(64, 1, 60)]
    stream, weight = torch.randn(3, 64, generator=source), torch.ones(64)
    norm, angles = torch.ones(32), torch.randn(3, 1, 16, generator=source)
    found = []
    for which in both(one, dtype):
        residual = stream.clone()
        found.append(
            [
                which.added(residual, output.clone(), weight),
                residual,
                which.gated(gate.clone(), up.clone()),
                which.gated(large.clone(), large.clone()),
                *which.heads(
                    [part.clone() for part in heads], norm, norm, angles.cos(), angles.sin()
                ),
            ]
        )
    for mine, theirs in zip(*found, strict=True):
        assert mine.isfinite().all()
        torch.testing.assert_close(mine.float(), theirs.float(), rtol=0.002, atol=0.008)
    assert found[0][3].max() == most


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_forward_as_on_cuda(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows at once, heads as the flash kernel takes them, queries that share their start."""
    pack = random_pack([[8, 11, 3], [7], [1]], [5, 4, 1], 3)
    model = Qwen3Model(random_config(300)).eval()
    sizes = model_config(model.config)
    weights = ModelWeights(model)
    expected = build_backbone(sizes, weights, CPU, torch.float32, attention=BlockAttention())
    monkeypatch.setattr(backbone, "_CHUNK_ROWS", {})
    found = build_backbone(
        sizes,
        weights,
        CPU,
        dtype,
        attention=FlashAttention(CPU, kernel),
        elementwise=both(replace(sizes, rms_norm_eps=model.config.rms_norm_eps), dtype)[0],
    )
    with torch.inference_mode():
        left, right = found.last_hidden(pack), expected.last_hidden(pack)
    torch.testing.assert_close(left, right, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.1)


class Other(PlainElementwise):
    """Forgets the rotation's sign."""

    def heads(self, products: Any, query_norm: Tensor, key_norm: Tensor, cos: Tensor, sin: Tensor):  # type: ignore[no-untyped-def]
        return super().heads(products, query_norm, key_norm, cos, -sin)


def test_only_kernels_that_agree_are_used(caplog: pytest.LogCaptureFixture) -> None:
    one, dtype = config(), torch.bfloat16
    fused, plain = both(one, dtype)
    assert tried(lambda: fused, plain, one, CPU, dtype) is fused
    with caplog.at_level(logging.INFO, "qwen3_rerank"):
        other = Other(HeadShape(4, 2, 32), EPS, dtype)
        assert tried(lambda: other, plain, one, CPU, dtype) is plain
        assert "do not compute what torch" in caplog.text

        def missing() -> Elementwise:
            raise ImportError("No module named 'triton'")

        assert tried(missing, plain, one, CPU, dtype) is plain
        assert "so torch's operators: No module named 'triton'" in caplog.text


def test_other_devices_and_float32_have_torchs_operators() -> None:
    for device, dtype in (("cuda", torch.float32), ("mps", torch.float16), ("cpu", torch.bfloat16)):
        chosen = choose_elementwise(config(), torch.device(device), dtype)
        assert isinstance(chosen, PlainElementwise)
