"""Layers of GPTQ and AWQ, read to the last bit of what they were packed from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.quantised import NAME, awq_layer, gptq_layer, read_layer
from torch import Tensor

from shared_core import UnsupportedModelError

PLACES = [3, 41, 40]


@pytest.fixture(scope="module")
def weight() -> Tensor:
    """Outputs and inputs of which no group of 128 is full; output 3 is positive alone."""
    weight = torch.randn(48, 160, generator=torch.Generator().manual_seed(0))
    weight[3] = weight[3].abs()
    return weight


def gptq(**settings: Any) -> dict[str, Any]:
    return {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True} | settings


def check(parts: dict[str, Tensor], config: dict[str, Any], expected: Tensor) -> None:
    weights = read_layer(parts, config)
    found = weights.read(f"{NAME}.weight")
    assert weights.headers[f"{NAME}.weight"].shape == found.shape
    assert torch.equal(found, expected)
    assert torch.equal(weights.rows(f"{NAME}.weight", PLACES), expected[PLACES])


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("size", [-1, 32, 128])
def test_gptq_is_read_exactly(weight: Tensor, size: int, symmetric: bool, order: bool) -> None:
    parts, expected = gptq_layer(weight, size=size, symmetric=symmetric, order=order)
    check(parts, gptq(group_size=size, sym=symmetric, desc_act=order), expected)
    if not order:
        del parts["g_idx"]
        check(parts, gptq(group_size=size, sym=symmetric), expected)


@pytest.mark.parametrize("bits", [2, 8])
def test_gptq_of_other_bits(weight: Tensor, bits: int) -> None:
    parts, expected = gptq_layer(weight, bits=bits, symmetric=False)
    check(parts, gptq(bits=bits, sym=False), expected)


@pytest.mark.parametrize("key", ["checkpoint_format", "format"])
def test_the_second_format_of_gptq_has_its_zeros_whole(weight: Tensor, key: str) -> None:
    parts, expected = gptq_layer(weight, symmetric=False, less_one=False)
    check(parts, gptq(sym=False) | {key: "gptq_v2"}, expected)
    first = read_layer(parts, gptq(sym=False)).read(f"{NAME}.weight")
    assert not torch.equal(first, expected)


def test_a_format_that_contradicts_symmetric_zeros_is_refused(weight: Tensor) -> None:
    for less_one, form in ((True, "gptq_v2"), (False, "gptq")):
        parts, _ = gptq_layer(weight, less_one=less_one)
        with pytest.raises(UnsupportedModelError, match="symmetric"):
            read_layer(parts, gptq(checkpoint_format=form)).read(f"{NAME}.weight")


def test_settings_of_single_layers(weight: Tensor) -> None:
    """As GPTQModel keeps them: by patterns at the beginning of a name."""
    parts, expected = gptq_layer(weight, bits=8, size=-1)
    own = {"+:.*up_proj": {"bits": 8, "group_size": -1}}
    check(parts, gptq(dynamic={"-:lm_head": {}, **own}), expected)
    with pytest.raises(UnsupportedModelError, match=f"{NAME} in packed numbers, .* excluded"):
        read_layer(parts, gptq(dynamic={r"-:.*\.0\.mlp": {}, **own}))


def test_act_order_needs_groups_of_the_stated_size(weight: Tensor) -> None:
    parts, _ = gptq_layer(weight, order=True)
    groups = parts["g_idx"]
    for wrong in (torch.zeros_like(groups), groups + 1, groups - 1):
        with pytest.raises(UnsupportedModelError, match="g_idx that does not put 32 inputs"):
            read_layer(parts | {"g_idx": wrong}, gptq(desc_act=True)).read(f"{NAME}.weight")
    del parts["g_idx"]
    with pytest.raises(UnsupportedModelError, match="without g_idx"):
        read_layer(parts, gptq(desc_act=True))


@pytest.mark.parametrize("size", [-1, 32, 128])
def test_awq_is_read_exactly(weight: Tensor, size: int) -> None:
    parts, expected = awq_layer(weight, size=size)
    config = {"quant_method": "awq", "bits": 4, "group_size": size, "version": "gemm"}
    check(parts, config, expected)
    older = {"quant_method": "awq", "w_bit": 4, "q_group_size": size, "version": "GEMM"}
    check(parts, older, expected)


def test_awq_is_read_as_compressed_tensors_converts_it(weight: Tensor) -> None:
    pytest.importorskip("compressed_tensors", reason="needs Python 3.11")
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter

    parts, expected = awq_layer(weight)
    converter = AutoAWQConverter(group_size=32)
    tensors = converter.process({f"{NAME}.{part}": values for part, values in parts.items()})
    scheme = converter.update_config(None).config_groups["config_group_0"]
    local = {name.removeprefix(f"{NAME}."): values for name, values in tensors.items()}
    local["weight_scale"] = local["weight_scale"].float()
    assert torch.equal(PackedQuantizationCompressor.decompress(local, scheme)["weight"], expected)


GPTQ, AWQ = gptq(), {"quant_method": "awq", "bits": 4, "group_size": 32}
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "bits": (GPTQ, {"bits": 3}, "bits=3; expected 2 or 4 or 8"),
    "no bits": (GPTQ, {"bits": None}, "bits=None"),
    "bits in words": (GPTQ, {"bits": "4"}, "bits='4'"),
    "group of none": (GPTQ, {"group_size": 0}, "group_size=0"),
    "marlin": (GPTQ, {"checkpoint_format": "marlin"}, "checkpoint_format='marlin'"),
    "two formats": (GPTQ, {"checkpoint_format": "gptq_v2", "format": "gptq"}, "format='gptq'"),
    "rotation": (GPTQ, {"rotation": "hadamard"}, "rotation='hadamard'; expected none"),
    "settings": (GPTQ, {"dynamic": {"+:.*": {"bits": 5}}}, "dynamic, .* with bits=5"),
    "pattern": (GPTQ, {"dynamic": {"+:(": {"bits": 8}}}, r"dynamic='\('; expected a regular"),
    "AWQ's bits": (AWQ, {"bits": 8}, "bits=8; expected 4"),
    "AWQ's kernel": (AWQ, {"version": "gemv_fast"}, "format='gemv_fast'; expected 'gemm'"),
    "GPTQModel's AWQ": (AWQ, {"checkpoint_format": "gemv"}, "checkpoint_format='gemv'"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_are_not_read_are_named(weight: Tensor, case: str) -> None:
    config, change, message = SETTINGS[case]
    parts = (gptq_layer if config is GPTQ else awq_layer)(weight)[0]
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        read_layer(parts, config | change)
    assert 'quantize="int8"' in str(caught.value)


CUT: dict[str, tuple[dict[str, Any], str, Any, str]] = {
    "another group size": (GPTQ, "scales", lambda v: v[:2], r"scales F16 \(2, 48\); expected .*5"),
    "no scales": (GPTQ, "scales", None, "without scales"),
    "zeros": (GPTQ, "qzeros", lambda v: v[:, :3], r"qzeros I32 \(5, 3\); expected I32 \(5, 6\)"),
    "numbers": (GPTQ, "qweight", lambda v: v.long(), r"qweight I64 .*a matrix of I32"),
    "no numbers": (GPTQ, "qweight", None, "without qweight: there is but g_idx, qzeros, scales"),
    "groups": (GPTQ, "g_idx", lambda v: v[1:], r"g_idx I32 \(159,\)"),
    "scales in words": (GPTQ, "scales", lambda v: v.int(), "scales I32 .*expected BF16/F16/"),
    "a weight, too": (GPTQ, "weight", lambda v: torch.ones(48, 160), "with weight, which"),
    "AWQ's zeros": (AWQ, "qzeros", None, "without qzeros"),
    "AWQ's scales": (AWQ, "scales", lambda v: v[:, :40], r"scales F16 \(5, 40\)"),
}


@pytest.mark.parametrize("case", CUT)
def test_tensors_that_do_not_fit_are_named(weight: Tensor, case: str) -> None:
    config, part, change, message = CUT[case]
    parts = (gptq_layer if config is GPTQ else awq_layer)(weight)[0]
    stored = parts.pop(part, torch.empty(0))
    if change is not None:
        parts[part] = change(stored)
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        read_layer(parts, config)
    assert NAME in str(caught.value)
