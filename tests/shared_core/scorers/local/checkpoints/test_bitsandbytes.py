"""Layers of bitsandbytes in four and eight bits."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from support.quantised import NAME, four_bit_layer, read_layer

from shared_core import UnsupportedModelError

CONFIG = {"quant_method": "bitsandbytes", "load_in_4bit": True}
STATE = "weight.quant_state.bitsandbytes__nf4"
PLACES = [2, 0]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("shape", [(48, 64), (5, 33)])
def test_four_bits_are_read_exactly(shape: tuple[int, int], nested: bool) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    parts, expected = four_bit_layer(weight, nested=nested)
    weights = read_layer(parts, CONFIG)
    assert torch.equal(weights.read(f"{NAME}.weight"), expected)
    assert torch.equal(weights.rows(f"{NAME}.weight", PLACES), expected[PLACES])


def test_eight_bits_are_read_by_row() -> None:
    numbers = torch.randint(-127, 128, (6, 8), dtype=torch.int8)
    rows = torch.rand(6) + 0.5
    parts = {"weight": numbers, "SCB": rows, "weight_format": torch.tensor(0).byte()}
    found = read_layer(parts, CONFIG).read(f"{NAME}.weight")
    torch.testing.assert_close(found, numbers * rows[:, None] / 127, atol=0, rtol=1e-6)
    with pytest.raises(UnsupportedModelError, match="other than row by row"):
        read_layer(parts | {"weight_format": torch.tensor(2).byte()}, CONFIG)
    with pytest.raises(UnsupportedModelError, match="without SCB"):
        read_layer({"weight": numbers}, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [48, 65]}, r"weight U8 \(1536, 1\); expected U8 \(1560, 1\)"),
        ({"shape": [48, 0]}, "sizes in"),
        ({"shape": None}, f"with a damaged {STATE}"),
        ({"blocksize": 32}, r"weight.absmax F32 \(48,\); expected .*\(96,\)"),
        ({"nested_blocksize": 4}, "weight.absmax F32 .*; expected U8"),
    ],
)
def test_sizes_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    parts, _ = four_bit_layer(torch.randn(48, 64))
    said = json.loads(bytes(parts[STATE].tolist())) | change
    parts[STATE] = torch.tensor(list(json.dumps(said).encode())).byte()
    with pytest.raises(UnsupportedModelError, match=message):
        read_layer(parts, CONFIG)
