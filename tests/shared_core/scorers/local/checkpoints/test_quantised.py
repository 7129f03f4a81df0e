"""Quantised checkpoints, scored as what they stand for, with every tensor accounted for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import write_lora
from support.quantised import (
    awq_layer,
    edit_config,
    four_bit_layer,
    gptq_layer,
    packed,
    write_quantised,
)
from torch import Tensor

from shared_core import ModelLoadError, Reranker, RerankerOptions, UnsupportedModelError
from shared_core.scorers.local.quantizing import quantize_checkpoint

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars looks red.", "Venus is hot.", "火星是红色的。"]
LAYER = "model.layers.1.mlp.up_proj"
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False, "desc_act": True}


def compressed_layer(weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return a layer of compressed-tensors: signed numbers of eight bits, a scale for each row."""
    scale = (weight.abs().amax(1, keepdim=True) / 127).to(torch.bfloat16)
    numbers = (weight / scale.float()).round().clamp(-128, 127)
    parts = {"weight_packed": packed(numbers + 128, 8), "weight_scale": scale}
    return parts | {"weight_shape": torch.tensor(weight.shape)}, numbers * scale.float()


KINDS: dict[str, tuple[dict[str, Any], Any]] = {
    "gptq": (GPTQ, partial(gptq_layer, symmetric=False, order=True)),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 32}, awq_layer),
    "compressed-tensors": (
        {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "kv_cache_scheme": {"num_bits": 8, "type": "float"},
            "config_groups": {
                "a": {"targets": ["Linear"], "weights": {"num_bits": 8, "strategy": "channel"}}
            },
        },
        compressed_layer,
    ),
    "bitsandbytes": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        partial(four_bit_layer, nested=True),
    ),
}


def margins(folder: Path, **options: Any) -> list[float]:
    with Reranker(str(folder), dtype="float32", device="cpu", **options) as reranker:
        return [judged.logit for judged in reranker.judge(QUERY, DOCUMENTS)]


def edit(folder: Path, **changes: Tensor | None) -> None:
    """Set tensors of a checkpoint, or remove them."""
    weights = load_file(folder / "model.safetensors") | changes
    kept = {name: values for name, values in weights.items() if values is not None}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_weights_that_it_stands_for(
    tmp_path: Path, checkpoint: Path, untied_checkpoint: Path, kind: str
) -> None:
    """With a head of its own that is quantised, too, or with tied embeddings."""
    for source in (checkpoint, untied_checkpoint):
        folder, plain = write_quantised(tmp_path / source.name, source, *KINDS[kind])
        with torch.device("meta"):  # of the caller, which is his own
            found = margins(folder)
        assert found == pytest.approx(margins(plain), abs=1e-6)
        assert found != pytest.approx(margins(source), abs=1e-3)


@pytest.fixture
def folders(tmp_path: Path, checkpoint: Path) -> tuple[Path, Path]:
    return write_quantised(tmp_path / "made", checkpoint, *KINDS["gptq"])


def test_it_goes_through_everything_that_weights_go_through(
    tmp_path: Path, folders: tuple[Path, Path], checkpoint: Path
) -> None:
    folder, plain = folders
    adapter = str(write_lora(tmp_path / "adapter", checkpoint))
    assert margins(folder, adapter=adapter) == pytest.approx(
        margins(plain, adapter=adapter), abs=1e-6
    )
    int8 = margins(plain, quantize="int8")
    assert margins(folder, quantize="int8") == int8
    written = quantize_checkpoint(RerankerOptions(model=str(folder)), tmp_path / "int8")
    assert margins(written) == int8
    with Reranker(str(folder), dtype="float32", device="cpu") as reranker:
        report = reranker.check()
    assert report["model"].status == "ok"
    assert "scores" not in report.names  # it could be loaded and asked


def refusal(folder: Path, error: type[Exception] = UnsupportedModelError) -> str:
    with pytest.raises(error) as caught:
        margins(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_every_tensor_is_accounted_for(folders: tuple[Path, Path]) -> None:
    folder, plain = folders
    edit_config(plain, quantization_config=GPTQ)
    assert "none of its tensors is" in refusal(plain)
    rows = load_file(folder / "model.safetensors")[f"{LAYER}.scales"].shape[1]
    expected = margins(folder)
    edit(folder, **{f"{LAYER}.bias": torch.zeros(rows)})  # as AutoGPTQ has them where no bias is
    assert margins(folder) == expected
    edit(folder, **{f"{LAYER}.bias": torch.ones(rows)})
    assert "attention_bias" in refusal(folder)
    edit(folder, **{f"{LAYER}.bias": None, f"{LAYER}.weight_packed": torch.ones(2).int()})
    assert "weights that nothing would read: " in refusal(folder)
    edit(folder, **{f"{LAYER}.weight_packed": None, "model.norm.qweight": torch.ones(3).int()})
    assert "model.norm with qweight I32 (3,); expected a matrix" in refusal(folder)
    edit(folder, **{"model.norm.qweight": None, f"{LAYER}.scales": torch.ones(2, rows + 32)})
    assert f"{LAYER} with scales F32" in refusal(folder)


def test_weights_of_another_shape_than_the_configs_are_refused(folders: tuple[Path, Path]) -> None:
    folder, _ = folders
    parts, _ = gptq_layer(torch.randn(64, 64), symmetric=False, order=True)
    edit(folder, **{f"{LAYER}.{part}": values for part, values in parts.items()})
    assert "(64, 64), its config.json says (96, 64)" in refusal(folder)


def test_scales_that_are_no_numbers_are_refused(folders: tuple[Path, Path]) -> None:
    folder, _ = folders
    scales = load_file(folder / "model.safetensors")[f"{LAYER}.scales"]
    scales[1, 1] = float("nan")
    edit(folder, **{f"{LAYER}.scales": scales})
    assert f"{LAYER}.weight holds numbers that are not finite" in refusal(folder, ModelLoadError)
