"""Attention by a variable-length kernel: its plan, and that only a kernel that agrees is used.

The kernel itself needs a GPU (``tests/gpu``). Here a plain one takes its place that reads the same
arguments, and tensors without data say whether all of a forward stays on one device.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.checkpoints import ModelWeights, model_config, random_config
from support.packs import kernel, packs, random_heads, random_pack
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import Qwen3Model

from shared_core.scorers.local import flash
from shared_core.scorers.local.attention import Attention, TiledAttention
from shared_core.scorers.local.block_attention import BlockAttention
from shared_core.scorers.local.building import build_backbone
from shared_core.scorers.local.flash import FlashAttention, choose_attention, cuda_kernel, tried
from shared_core.scorers.local.packing import Pack

CPU = torch.device("cpu")


@given(packs, st.sampled_from([1, 50, 10**6]), st.sampled_from([(4, 2), (2, 2), (6, 1)]))
@settings(max_examples=60, deadline=None)
def test_it_computes_what_plain_products_do(
    pack: Pack, most_keys: int, heads: tuple[int, int]
) -> None:
    """However few keys a call may gather."""
    h, g = heads
    t = len(pack.ids)
    query, key, value = random_heads(t, g, h // g)
    last = query[:, [span.stop - 1 for span in pack.document_spans]]
    mixed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flash, "MOST_KEYS", most_keys)
        attentions: list[Attention] = [FlashAttention(CPU, kernel), TiledAttention(h, CPU)]
        for attention in attentions:
            all_of = attention(query, key, value, attention.plan(pack.spans, t))
            last_of = attention(last, key, value, attention.plan_last(pack.document_spans))
            mixed.append(torch.cat([all_of, last_of]))
    torch.testing.assert_close(*mixed, rtol=0, atol=1e-5)


def test_no_call_gathers_more_keys_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "MOST_KEYS", 100)
    pack = random_pack([[30] * 9, [90], [5]], [25, 25, 25], 0)
    calls = FlashAttention(CPU, kernel).plan(pack.spans, len(pack.ids))
    assert [len(call.keys) for call in calls] == [
        25 + 55,
        55,
        55,
        55,
        55,
        55,
        55,
        55,
        55 + 25,
        115,
        55,
    ]
    assert calls[0].queries.start == 0
    assert calls[-1].queries.stop == len(pack.ids)
    assert all(a.queries.stop == b.queries.start for a, b in pairwise(calls))


def trial() -> flash.Trial:
    return flash._trial(CPU, torch.float32, 4, 2, 32)


def test_a_kernel_that_agrees_is_used() -> None:
    one = FlashAttention(CPU, kernel)
    assert tried(one, TiledAttention(4, CPU), trial()) is one


def test_a_kernel_with_another_mask_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    def other(*arguments: object) -> Tensor:
        return kernel(*arguments, aligned_at_start=True)  # type: ignore[arg-type]

    plain = TiledAttention(4, CPU)
    with caplog.at_level(logging.WARNING, "qwen3_rerank"):
        assert tried(FlashAttention(CPU, other), plain, trial()) is plain
    assert "does not compute what plain products do" in caplog.text


def test_nothing_but_numbers_is_not_used() -> None:
    def empty(query: Tensor, *_: object) -> Tensor:
        return torch.full_like(query, torch.nan)

    plain = TiledAttention(4, CPU)
    assert tried(FlashAttention(CPU, empty), plain, trial()) is plain


def test_a_kernel_that_is_not_there_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """torch has none for CPUs that takes these arguments, and says so in an error of its own."""
    plain = TiledAttention(4, CPU)
    with caplog.at_level(logging.INFO, "qwen3_rerank"):
        assert tried(FlashAttention(CPU, cuda_kernel), plain, trial()) is plain
    assert "no flash attention on cpu" in caplog.text


def test_other_devices_and_float32_have_plain_products() -> None:
    for device, dtype in (("cuda", torch.float32), ("mps", torch.float16)):
        chosen = choose_attention(torch.device(device), dtype, 16, 8, 128)
        assert isinstance(chosen, TiledAttention)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_cpus_have_blocks(dtype: torch.dtype) -> None:
    assert isinstance(choose_attention(CPU, dtype, 16, 8, 128), BlockAttention)


class OneDevice(TorchDispatchMode):
    """Refuses what mixes devices, but for copies from one to another, as a GPU does."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Any = (),
        kwargs: Any = None,
    ) -> Any:
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.dim()]
        devices = {x.device for x in given}
        assert len(devices) < 2 or func.overloadpacket is torch.ops.aten.copy_, (func, devices)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_a_forward_stays_on_its_device(dtype: torch.dtype) -> None:
    """And nothing is read from it in the middle, which a device without data refuses."""
    pack = random_pack([[20, 30, 30], [7]], [9, 12], 5)
    device = torch.device("meta")
    model = Qwen3Model(random_config(300))
    attention: Attention = (
        TiledAttention(4, device) if dtype == torch.float32 else FlashAttention(device, cuda_kernel)
    )
    with OneDevice(), torch.inference_mode():
        hidden = build_backbone(
            model_config(model.config), ModelWeights(model), device, dtype, attention=attention
        ).last_hidden(pack)
    assert hidden.device.type == "meta"
    assert hidden.dtype == torch.float32
    assert hidden.shape == (4, 64)
