"""Checkpoints in eight-bit floats: scaled as transformers scales them, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from parity import reference
from safetensors.torch import load_file, save_file
from support.quantised import NAME, edit_config, read_layer
from transformers import AutoTokenizer, Qwen3ForCausalLM

from shared_core import Reranker, UnsupportedModelError

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars looks red.", "Venus is hot.", "", "火星是红色的。"]
BLOCK = 32
BLOCKS = {"weight_block_size": [2, 2]}


def quantised(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a weight in eight bits, and the scale of each of its blocks."""
    rows, columns = weight.shape
    blocks = weight.view(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    scale = blocks.abs().amax((1, 3)) / 448
    small = blocks / scale[:, None, :, None]
    return small.view(rows, columns).to(torch.float8_e4m3fn), scale


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path) -> Path:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "fp8"))
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if name.endswith("proj.weight")]:
        weights[name], weights[f"{name}_scale_inv"] = quantised(weights[name])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    described = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [BLOCK, BLOCK],
        "modules_to_not_convert": ["lm_head"],
    }
    edit_config(folder, quantization_config=described)
    return folder


def margins(folder: Path) -> list[float]:
    with Reranker(str(folder), dtype="float32", device="cpu") as reranker:
        return [judged.logit for judged in reranker.judge(QUERY, DOCUMENTS)]


def test_scores_are_those_of_transformers(folder: Path, checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [reference.prompt_ids(tokenizer, None, QUERY, text) for text in DOCUMENTS]
    expected = [reference.margin(model, tokenizer, ids) for ids in prompts]
    found = margins(folder)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found != pytest.approx(margins(checkpoint), abs=1e-3)


def test_scales_of_rows_and_of_whole_weights() -> None:
    """As "fbgemm_fp8" and AutoFP8 write them, whose activations are not quantised here."""
    weight = torch.randn(6, 4).to(torch.float8_e4m3fn)
    for shape in ((), (1,), (1, 1), (6,), (6, 1)):
        for part in ("weight_scale", "weight_scale_inv"):
            scale = torch.rand(shape) + 0.5
            parts = {"weight": weight, part: scale, "input_scale": torch.ones(1)}
            found = read_layer(parts, {"quant_method": "fp8"})
            expected = weight.float() * scale.view(-1, 1)
            assert torch.equal(found.read(f"{NAME}.weight"), expected)
            assert torch.equal(found.rows(f"{NAME}.weight", [4, 1]), expected[[4, 1]])


def test_a_scale_that_does_not_fit_is_named() -> None:
    weight, scale = torch.ones(6, 4).to(torch.float8_e4m3fn), torch.ones(3, 2)

    def refusal(block: object = (2, 2), **parts: torch.Tensor) -> str:
        described = {"quant_method": "fp8", "weight_block_size": block and list(block)}
        with pytest.raises(UnsupportedModelError) as caught:
            read_layer(parts, described)
        assert NAME in str(caught.value) or "weight_block_size=" in str(caught.value)
        return str(caught.value)

    assert read_layer(
        {"weight": weight, "weight_scale_inv": scale}, {"quant_method": "fp8"} | BLOCKS
    )
    assert "without weight_scale_inv" in refusal(weight=weight)
    assert "without weight" in refusal(weight_scale_inv=scale)
    assert "F32 (3, 2); expected" in refusal(block=(3, 2), weight=weight, weight_scale_inv=scale)
    assert "F32 (3, 2); expected" in refusal(block=None, weight=weight, weight_scale_inv=scale)
    assert "with weight_scale, " in refusal(
        weight=weight, weight_scale_inv=scale, weight_scale=scale
    )
    assert "a matrix of F8_E4M3" in refusal(weight=weight.float(), weight_scale_inv=scale)
    assert "weight_block_size=[0, 2]" in refusal(block=(0, 2), weight=weight)
    assert "F8_E5M2" in refusal(weight=weight, weight_scale_inv=scale.to(torch.float8_e5m2))
