"""Checkpoints in eight-bit floats: scaled as transformers scales them, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import reference
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Qwen3ForCausalLM

from shared_core import Reranker, UnsupportedModelError

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars looks red.", "Venus is hot.", "", "火星是红色的。"]
BLOCK = 32


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
    change(folder, quantization_config=described)
    return folder


def change(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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


def test_a_scale_that_is_not_read_is_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("_scale_inv"))
    scale = weights.pop(name)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match="in eight bits with no scale"):
        margins(folder)
    save_file(weights | {name: scale[:1]}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match=r"a scale of shape \(1,"):
        margins(folder)
    surplus = {name: scale, "model.norm.weight_scale_inv": torch.ones(1)}
    save_file(weights | surplus, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match="which scales nothing"):
        margins(folder)
    change(folder, quantization_config={"quant_method": "fp8", "weight_block_size": None})
    with pytest.raises(UnsupportedModelError, match="weight_block_size=None"):
        margins(folder)
