"""Layers of compressed-tensors, read as the package itself decompresses them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from support.quantised import NAME, packed, read_layer
from torch import Tensor

from shared_core import UnsupportedModelError

pytest.importorskip("compressed_tensors", reason="needs Python 3.11")

PLACES = [3, 41, 40]
SHAPE = (48, 256)
GROUP = {"num_bits": 4, "group_size": 32, "strategy": "group"}
KINDS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "W4A16": ("pack-quantized", GROUP, (48, 8)),
    "W4A16 asymmetric": ("pack-quantized", GROUP | {"symmetric": False}, (48, 8)),
    "W4A16 by row": ("pack-quantized", {"num_bits": 4, "strategy": "channel"}, (48, 1)),
    "W8A16": ("pack-quantized", {"num_bits": 8, "strategy": "channel"}, (48, 1)),
    "W8A16 asymmetric": (
        "pack-quantized",
        {"num_bits": 8, "group_size": 128, "strategy": "group", "symmetric": False},
        (48, 2),
    ),
    "three bits": ("pack-quantized", GROUP | {"num_bits": 3, "symmetric": False}, (48, 8)),
    "W8A8": ("int-quantized", {"num_bits": 8, "strategy": "channel"}, (48, 1)),
    "W8A8 asymmetric": ("int-quantized", {"strategy": "channel", "symmetric": False}, (48, 1)),
    "W8A8 by tensor": ("int-quantized", {"strategy": "tensor"}, (1, 1)),
    "fp8": ("float-quantized", {"type": "float", "strategy": "tensor"}, (1, 1)),
    "fp8 by row": ("float-quantized", {"type": "float", "strategy": "channel"}, (48, 1)),
    "fp8 by block": (
        "float-quantized",
        {"type": "float", "strategy": "block", "block_structure": [32, 128]},
        (2, 2),
    ),
    "fp8, naive": ("naive-quantized", {"type": "float", "strategy": "channel"}, (48, 1)),
}


def config(form: str, weights: dict[str, Any], **others: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None}
    groups = {"group_0": group}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": groups} | others


def compressed(form: str, stated: dict[str, Any], blocks: tuple[int, int]) -> Any:
    """Return parts of a random layer as the package compresses them, and as it decompresses."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    source = torch.Generator().manual_seed(0)
    args = QuantizationArgs(**stated)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    most = 448 if args.type == "float" else 2 ** (args.num_bits - 1)
    layer = {"weight": torch.randn(SHAPE, generator=source)}
    layer["weight_scale"] = (torch.rand(blocks, generator=source) + 2) / most
    if not args.symmetric:
        zeros = torch.randint(-most // 2, most // 2, blocks, generator=source)
        layer["weight_zero_point"] = zeros.to(torch.int8)
    compressor = BaseCompressor.get_value_from_registry(form)
    parts = compressor.compress(layer, scheme)
    return parts, compressor.decompress(parts, scheme)["weight"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_read_as_the_package_does(kind: str) -> None:
    form, stated, blocks = KINDS[kind]
    parts, expected = compressed(form, stated, blocks)
    activations = {"input_scale": torch.ones(1), "output_zero_point": torch.zeros(1)}
    weights = read_layer(parts | activations, config(form, stated))
    assert weights.headers.keys() == {f"{NAME}.weight"}
    assert torch.equal(weights.read(f"{NAME}.weight"), expected)
    assert torch.equal(weights.rows(f"{NAME}.weight", PLACES), expected[PLACES])
    if blocks == (1, 1):
        scalar = parts | {"weight_scale": parts["weight_scale"][0, 0]}
        assert torch.equal(
            read_layer(scalar, config(form, stated)).read(NAME + ".weight"), expected
        )


def test_files_of_older_versions() -> None:
    """Zero points that are not packed, or zero, and groups whose inputs are no neighbours."""
    form, stated, blocks = KINDS["W4A16"]
    parts, expected = compressed(form, stated, blocks)
    read = partial(read_layer, config=config(form, stated | {"actorder": None}))
    zeros = torch.zeros(blocks, dtype=torch.int8)
    assert torch.equal(read(parts | {"weight_zero_point": zeros}).read(f"{NAME}.weight"), expected)
    with pytest.raises(UnsupportedModelError, match="says that it is symmetric"):
        read(parts | {"weight_zero_point": zeros + 1}).read(f"{NAME}.weight")
    asymmetric, expected = compressed(*KINDS["W4A16 asymmetric"])
    zeros = torch.randint(-8, 8, blocks, dtype=torch.int8)
    mended = asymmetric | {"weight_zero_point": packed(zeros.t() + 8, 4).t().contiguous()}
    settings = config(form, stated | {"symmetric": False, "actorder": "group"})
    order = torch.randperm(SHAPE[1]) // 32
    found = [
        read_layer(layer | {"weight_g_idx": order.int()}, settings).read(f"{NAME}.weight")
        for layer in (mended, asymmetric | {"weight_zero_point": zeros})
    ]
    scales = asymmetric["weight_scale"][:, order]
    numbers = read_layer(
        asymmetric | {"weight_scale": torch.ones(blocks), "weight_zero_point": zeros * 0},
        config(form, stated | {"symmetric": False}),
    ).read(f"{NAME}.weight")
    assert torch.equal(found[0], (numbers - zeros[:, order]) * scales)
    assert torch.equal(found[0], found[1])
    unordered = mended | {"weight_g_idx": torch.full(SHAPE[1:], -1).int()}
    neighbours = read_layer(mended, config(form, stated | {"symmetric": False}))
    assert torch.equal(
        read_layer(unordered, settings).read(f"{NAME}.weight"), neighbours.read(f"{NAME}.weight")
    )


def test_settings_by_name_go_before_those_of_a_pattern_and_of_the_class() -> None:
    parts, expected = compressed(*KINDS["W8A8"])
    right, wrong = KINDS["W8A8"][1], {"strategy": "tensor"}
    for targets, others in (([NAME], ["re:.*up_proj"]), (["re:.*up_proj"], ["Linear"])):
        settings = config("mixed-precision", right)
        own = {"format": "int-quantized", "weights": right, "targets": targets}
        common = own | {"weights": wrong, "targets": others}
        settings["config_groups"] = {"a": common, "b": own, "c": {"weights": None}}
        assert torch.equal(read_layer(parts, settings).read(f"{NAME}.weight"), expected)


PACKED = KINDS["W4A16"]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": "nvfp4-pack-quantized"}, "format='nvfp4-pack-quantized'; expected"),
    "rotation": ({"transform_config": {"config_groups": {"R1": {}}}}, "transform_config"),
    "sparse": (
        {"sparsity_config": {"format": "sparse-24-bitmask"}},
        "sparsity_config .*with format='sparse-24-bitmask'",
    ),
    "ignored": ({"ignore": ["re:.*mlp"]}, f"{NAME} in quantised numbers, .* under ignore"),
    "pattern": ({"ignore": ["re:*"]}, r"ignore='\*'; expected a regular expression"),
    "no groups": ({"config_groups": {}}, f"{NAME} in quantised numbers, for which"),
    "groups": ({"config_groups": []}, r"config_groups=\[\]; expected an object"),
}
WEIGHTS: dict[str, tuple[dict[str, Any], str]] = {
    "bits": (GROUP | {"num_bits": 16}, "num_bits=16"),
    "kind": (GROUP | {"type": "float"}, "type='float'; expected 'int'"),
    "strategy": (GROUP | {"strategy": "tensor_group"}, "strategy='tensor_group'"),
    "two strategies": (GROUP | {"strategy": "channel"}, "strategy='channel'"),
    "another size": (GROUP | {"group_size": 64}, r"weight_scale F32 \(48, 8\); .* \(48, 4\), by"),
    "other bits": (GROUP | {"num_bits": 8}, r"weight_packed I32 \(48, 32\); .* \(48, 64\)"),
    "zeros": (GROUP | {"symmetric": False}, "without weight_zero_point"),
    "order": (GROUP | {"actorder": "group"}, "without weight_g_idx"),
}


@pytest.mark.parametrize("case", [*REFUSED, *WEIGHTS])
def test_what_does_not_fit_is_named(case: str) -> None:
    parts, _ = compressed(*PACKED)
    changes, message = REFUSED.get(case, ({}, ""))
    weights, message = WEIGHTS.get(case, (GROUP, message))
    with pytest.raises(UnsupportedModelError, match=message):
        read_layer(parts, config("pack-quantized", weights) | changes)


def test_parts_that_do_not_fit_are_named() -> None:
    parts, _ = compressed(*PACKED)

    def refusal(form: str, changed: dict[str, Tensor], **stated: Any) -> str:
        with pytest.raises(UnsupportedModelError) as caught:
            read_layer(changed, config(form, stated or GROUP))
        return str(caught.value)

    sizes = torch.tensor([48, 200])
    assert "weight_packed I32" in refusal("pack-quantized", parts | {"weight_shape": sizes})
    assert "weight_shape (200, 48)" in refusal(
        "pack-quantized", parts | {"weight_shape": sizes.flip(0)}
    )
    assert "weight_shape" in refusal("pack-quantized", parts | {"weight_shape": sizes.float()})
    rows, stated, _ = KINDS["W8A8"]
    eight = compressed(*KINDS["W8A8"])[0]
    assert "without weight_scale" in refusal(rows, {"weight": eight["weight"]}, **stated)
    assert "without weight" in refusal(rows, {"weight_scale": eight["weight_scale"]}, **stated)
    assert "a matrix of F8_E4M3" in refusal(rows, eight, **stated | {"type": "float"})
    assert "weight_g_idx" in refusal(
        rows, eight | {"weight_g_idx": torch.ones(256).int()}, **stated
    )
