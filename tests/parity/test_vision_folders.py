"""Adapters and eight-bit floats of models that judge images: scored as peft and the recipe do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import vision_reference as reference
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from support.vision import drawn, write_vision_checkpoint
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

from shared_core import Content, Reranker, UnsupportedModelError

CHART = drawn(130, 100, 1)
DOCUMENTS = [Content(images=[CHART]), Content("a caption", [CHART]), "a text"]
BLOCK = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    size = {"vocab_size": len(small_tokenizer)}
    return write_vision_checkpoint(tmp_path_factory.mktemp("vision"), small_tokenizer, text=size)


def expected(model: Any, folder: Path) -> list[float]:
    """Return the recipe's margins."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [
        ([], one) if isinstance(one, str) else ([*one.images], one.text or None)
        for one in DOCUMENTS
    ]
    parts = [reference.format_pair(([], "which?"), pair) for pair in pairs]
    return [reference.margin(model, tokenizer, reference.inputs(tokenizer, one)) for one in parts]


def margins(folder: Path, **options: Any) -> list[float]:
    with Reranker(str(folder), dtype="float32", device="cpu", **options) as reranker:
        return [judged.logit for judged in reranker.judge("which?", DOCUMENTS)]


def adapted(folder: Path, target: Path, modules: list[str]) -> Any:
    """Write a random adapter of some modules, and return the model that has it."""
    torch.manual_seed(3)
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder).eval()
    config = LoraConfig(r=4, lora_alpha=16, target_modules=modules, init_lora_weights=False)
    found = get_peft_model(model, config).eval()
    found.save_pretrained(target)
    return found


def test_an_adapter_of_both_towers_is_merged(folder: Path, tmp_path: Path) -> None:
    model = adapted(folder, tmp_path / "lora", ["q_proj", "down_proj", "qkv", "linear_fc2"])
    found = margins(folder, adapter=str(tmp_path / "lora"))
    assert found == pytest.approx(expected(model, folder), abs=1e-5)
    bare = margins(folder)
    assert min(abs(a - b) for a, b in zip(found, bare, strict=True)) > 1e-3


def test_an_adapter_of_what_may_be_one_matrix_is_refused(folder: Path, tmp_path: Path) -> None:
    adapted(folder, tmp_path / "lora", ["q_proj", "embed_tokens"])
    with pytest.raises(UnsupportedModelError, match=r"embed_tokens.*merge_and_unload"):
        margins(folder, adapter=str(tmp_path / "lora"))


def test_weights_in_eight_bit_floats_are_scaled(folder: Path, tmp_path: Path) -> None:
    """As those of the text models; the vision tower's are not in eight bits."""
    small, whole = (Path(shutil.copytree(folder, tmp_path / name)) for name in ("fp8", "whole"))
    weights = load_file(folder / "model.safetensors")
    scaled = dict(weights)
    for name in [name for name in weights if "layers." in name and name.endswith("proj.weight")]:
        rows, columns = weights[name].shape
        blocks = weights[name].view(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
        scale = blocks.abs().amax((1, 3)) / 448
        eight = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        scaled[name], scaled[f"{name}_scale_inv"] = eight.view(rows, columns), scale
        weights[name] = (eight.float() * scale[:, None, :, None]).view(rows, columns)
    save_file(weights, whole / "model.safetensors", {"format": "pt"})
    save_file(scaled, small / "model.safetensors", {"format": "pt"})
    config = json.loads((small / "config.json").read_text())
    described = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}
    (small / "config.json").write_text(json.dumps(config | {"quantization_config": described}))
    model = Qwen3VLForConditionalGeneration.from_pretrained(whole).eval()
    assert margins(small) == pytest.approx(expected(model, folder), abs=1e-5)
    assert margins(small) != pytest.approx(margins(folder), abs=1e-3)
