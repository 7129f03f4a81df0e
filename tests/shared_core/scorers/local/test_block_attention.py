"""Attention of CPUs: right wherever a block or a head ends, and bounded in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.packs import attention_written_out, packs, random_heads, random_pack
from torch import Tensor

from shared_core.scorers.local import block_attention
from shared_core.scorers.local.block_attention import BlockAttention
from shared_core.scorers.local.packing import Pack, Span


@contextmanager
def bounds(rows: int, elements: int, fused_keys: int) -> Iterator[None]:
    """Blocks of other sizes than those that are fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_attention, "_LEAST_ROWS", rows)
        patch.setattr(block_attention, "_MOST_ROWS", rows)
        patch.setattr(block_attention, "_MOST_ELEMENTS", elements)
        patch.setattr(block_attention, "_FUSED_KEYS", fused_keys)
        patch.setattr(block_attention, "_FUSED_SHARE", 1.0)
        yield


def attended(pack: Pack, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return what all positions mix, and what the last of each document mixes by itself."""
    attention = BlockAttention()
    last = query[:, [span.stop - 1 for span in pack.document_spans]]
    return (
        attention(query, key, value, attention.plan(pack.spans, len(pack.ids))),
        attention(last, key, value, attention.plan_last(pack.document_spans)),
    )


@given(
    packs,
    st.sampled_from([1, 3, 64]),
    st.sampled_from([1, 300, 10**9]),
    st.sampled_from([1, 30, 10**9]),
    st.sampled_from([(2, 2), (3, 1), (1, 4)]),
)
@settings(max_examples=80, deadline=None)
def test_every_position_mixes_what_it_sees(
    pack: Pack, rows: int, elements: int, fused_keys: int, heads: tuple[int, int]
) -> None:
    """Whatever the size of blocks, the heads at a time, and which spans are fused."""
    query, key, value = random_heads(len(pack.ids), *heads)
    with bounds(rows, elements, fused_keys):
        of_all, of_last = attended(pack, query, key, value)
    right = attention_written_out(pack, query, key, value)
    torch.testing.assert_close(of_all.double(), right, rtol=0, atol=1e-5)
    at = [span.stop - 1 for span in pack.document_spans]
    torch.testing.assert_close(of_last.double(), right[at], rtol=0, atol=1e-5)


@pytest.mark.parametrize("fused_keys", [1, 10**9], ids=["fused", "blocks"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_sums_in_float32(dtype: torch.dtype, fused_keys: int) -> None:
    """A thousand keys of like weight: summed in bfloat16, the weights would be off by a tenth."""
    pack = random_pack([[1000, 20]], [20], 0)
    query, key, value = (x.to(dtype) for x in random_heads(len(pack.ids), 2, 2))
    query = query * 0.05
    value = value + 1
    with bounds(64, 10**6, fused_keys):
        of_all, _ = attended(pack, query, key, value)
    right = attention_written_out(pack, query, key, value)
    assert (of_all - right).abs().max() < 0.02
    assert abs((of_all - right).mean()) < 0.001


def test_long_prompts_are_fused_unless_too_much_attends_again() -> None:
    prefix = Span(0, 79)
    query = Span(0, 2000)
    for span, is_fused in (
        (Span(79, 1000, prefix, 79), False),
        (Span(79, 1457, prefix, 79), True),
        (Span(4000, 6000, prefix, 79), True),
        (query, True),
        (Span(2000, 60, query, 2000), False),
        (Span(2000, 7990, query, 2000), False),
        (Span(2000, 8000, query, 2000), True),
    ):
        assert BlockAttention().plan([span], span.stop).parts[0].is_fused == is_fused, span
        assert not BlockAttention().plan_last([span]).parts[0].is_fused


def test_attention_weights_are_bounded_however_long_a_prompt() -> None:
    """By taking fewer heads at a time."""
    prefix = Span(0, 3000)
    spans = [prefix, *(Span(3000 + 64 * i, 64, prefix, 3000) for i in range(3))]
    attention = BlockAttention()
    query, key, value = random_heads(spans[-1].stop, 8, 2, 16)
    with bounds(64, 10**6, 10**9):
        plan = attention.plan(spans, spans[-1].stop)
        attention(query, key, value, plan)
    assert 0 < plan.room["weights"].numel() <= 10**6
    assert plan.room["keys"].shape == plan.room["values"].shape == (8 * 3064 * 16,)


def test_what_is_given_stays_as_it_was() -> None:
    pack = random_pack([[30, 5], [7]], [9, 12], 5)
    given_heads = random_heads(len(pack.ids), 2, 2)
    before = [x.clone() for x in given_heads]
    attended(pack, *given_heads)
    for x, y in zip(given_heads, before, strict=True):
        assert torch.equal(x, y)
