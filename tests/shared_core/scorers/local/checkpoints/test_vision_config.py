"""Checkpoints that read images are refused where their scores would be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from support.checkpoints import write_lora
from support.vision import write_vision_checkpoint

from shared_core import (
    DEFAULT_INSTRUCTION,
    ModelLoadError,
    Reranker,
    UnsupportedModelError,
)
from shared_core.jobs import encoder_of
from shared_core.options import RerankerOptions
from shared_core.scorers.local.quantizing import quantize_checkpoint

Config = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    size = {"vocab_size": len(small_tokenizer)}
    return write_vision_checkpoint(tmp_path_factory.mktemp("vision"), small_tokenizer, text=size)


def edited(folder: Path, target: Path, edit: Callable[[Config], object]) -> Path:
    shutil.copytree(folder, target, dirs_exist_ok=True)
    config = json.loads((target / "config.json").read_text())
    edit(config)
    (target / "config.json").write_text(json.dumps(config))
    return target


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelLoadError) as caught:
        Reranker(str(folder), dtype="float32", **options).score("query", ["document"])
    return str(caught.value)


def test_the_checkpoint_itself_is_read(folder: Path) -> None:
    """Else every edit below would be refused for another reason."""
    assert Reranker(str(folder), dtype="float32").score("query", ["document"])


def test_the_older_form_of_the_config_is_the_same(folder: Path, tmp_path: Path) -> None:
    """Rotary positions as transformers before version 5 has them, and so the published files."""

    def older(config: Config) -> None:
        rope = config["text_config"].pop("rope_parameters")
        config["text_config"]["rope_theta"] = rope.pop("rope_theta")
        config["text_config"]["rope_scaling"] = rope
        config["vision_config"].pop("rope_parameters")

    old = edited(folder, tmp_path / "old", older)
    documents = ["document", "another one"]
    scores = [Reranker(str(one), dtype="float32").score("q", documents) for one in (folder, old)]
    assert scores[0] == scores[1]


REFUSED: dict[str, tuple[Callable[[Config], object], str]] = {
    "no vision": (lambda c: c.pop("vision_config"), "no vision_config"),
    "activation": (lambda c: c["vision_config"].update(hidden_act="relu"), "hidden_act='relu'"),
    "no size": (lambda c: c["vision_config"].update(depth="three"), "depth is 'three'"),
    "deepstack": (
        lambda c: c["vision_config"].update(deepstack_visual_indexes=[0, 9]),
        r"deepstack_visual_indexes is \[0, 9\]",
    ),
    "out": (lambda c: c["vision_config"].update(out_hidden_size=32), "out_hidden_size"),
    "fewer layers": (
        lambda c: c["vision_config"].update(depth=2),
        r"nothing would read.*blocks\.2",
    ),
    "more layers": (lambda c: c["vision_config"].update(depth=4), r"lacks.*blocks\.3"),
    "width": (lambda c: c["vision_config"].update(intermediate_size=80), "of shape"),
    "sections": (
        lambda c: c["text_config"]["rope_parameters"].update(mrope_section=[8, 8]),
        r"mrope_section=\[8, 8\]",
    ),
    "not interleaved": (
        lambda c: c["text_config"]["rope_parameters"].update(mrope_interleaved=False),
        "mrope_interleaved=false",
    ),
    "architecture": (lambda c: c.update(architectures=["Qwen3VLModel"]), "Qwen3VLModel"),
    "quantised": (
        lambda c: c.update(quantization_config={"quant_method": "fp8"}),
        "is quantised: fp8",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_config_of_something_else_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    edit, expected = REFUSED[name]
    target = edited(folder, tmp_path / "edited", edit)
    with pytest.raises(ModelLoadError, match=expected):
        Reranker(str(target), dtype="float32").score("query", ["document"])


def test_other_pixel_values_are_refused(folder: Path, tmp_path: Path) -> None:
    target = edited(folder, tmp_path / "edited", lambda config: config)
    (target / "preprocessor_config.json").write_text('{"image_mean": [0.48, 0.46, 0.41]}')
    assert "image_mean=[0.48, 0.46, 0.41]" in refusal(target)


def test_a_number_that_is_not_finite_is_refused(folder: Path, tmp_path: Path) -> None:
    target = edited(folder, tmp_path / "edited", lambda config: config)
    weights = load_file(target / "model.safetensors")
    weights["model.visual.blocks.1.attn.qkv.weight"][0, 0] = float("nan")
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    assert "model.visual.blocks.1.attn.qkv.weight holds numbers" in refusal(target)


def test_an_adapter_of_a_text_model_is_refused(
    folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    adapter = write_lora(tmp_path / "adapter", checkpoint)
    assert "they are of different models" in refusal(folder, adapter=str(adapter))


def test_it_is_not_written_without_its_vision_tower(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="reads images"):
        quantize_checkpoint(RerankerOptions(model=str(folder)), tmp_path / "int8")


def test_divided_jobs_count_tokens_by_its_prompt(folder: Path) -> None:
    reranker = Reranker(str(folder), dtype="float32")
    encoder = encoder_of(reranker)
    assert encoder is not None
    (document,) = encoder.encode(DEFAULT_INSTRUCTION, "query", ["document"]).documents
    assert reranker.rerank("query", ["document"])[0].n_tokens == document.n_tokens
