"""Checkpoints in eight bits: the same bits as quantising at loading; all else is refused."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import BUNDLED, write_checkpoint, write_lora
from transformers import AutoModelForCausalLM

from shared_core import (
    ConfigurationError,
    ModelLoadError,
    Reranker,
    RerankerOptions,
    UnsupportedModelError,
)
from shared_core.digests import digest_of
from shared_core.scorers.local.checkpoints import shards
from shared_core.scorers.local.checkpoints.checkpoint import open_checkpoint
from shared_core.scorers.local.quantizing import quantize_checkpoint

QUERY, DOCUMENTS = "Which planet is red?", ["Mars is red.", "Tea.", "planet " * 60]
FILE = "model-00001.safetensors"
UP = "model.layers.0.mlp.up_proj.weight"


def written(source: Path, folder: Path) -> Path:
    return quantize_checkpoint(RerankerOptions(model=str(source)), folder)


def scores(folder: Path, **options: Any) -> list[float]:
    with Reranker(str(folder), **options) as reranker:
        return reranker.score(QUERY, DOCUMENTS)


@pytest.mark.parametrize("kind", ["checkpoint", "untied_checkpoint", "converted_checkpoint"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_scores_with_the_same_bits_as_its_source(
    kind: str, dtype: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(kind)
    folder = written(source, tmp_path / "int8")
    expected = scores(source, dtype=dtype, quantize="int8")
    assert expected != scores(source, dtype=dtype)
    for quantize in (None, "int8"):
        assert scores(folder, dtype=dtype, quantize=quantize) == expected


def test_biases_and_several_files_are_kept(
    tmp_path: Path, small_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_checkpoint(tmp_path / "source", small_tokenizer, attention_bias=True)
    weights = load_file(source / "model.safetensors")
    for name in weights:
        if name.endswith(".bias"):
            weights[name].normal_()
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setattr(shards, "_SHARD_BYTES", 2**15)
    folder = written(source, tmp_path / "int8")
    assert len(list(folder.glob("*.safetensors"))) > 2
    expected = scores(source, dtype="float32", quantize="int8")
    assert scores(folder, dtype="float32") == expected


def test_the_folder_says_what_it_is_and_is_whole(tmp_path: Path) -> None:
    """Others may read it, in both senses: by its mode, and nobody takes it for float weights."""
    folder = written(BUNDLED, tmp_path / "int8")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["quantization_config"] == {
        "quant_method": "qwen3-rerank-int8",
        "version": 1,
        "weight_limit": config["quantization_config"]["weight_limit"],
        "source": "tiny",
        "source_digest": digest_of(BUNDLED),
    }
    assert [file.name for file in tmp_path.iterdir()] == ["int8"]
    modes = {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {stat.S_IMODE((folder / "config.json").stat().st_mode)}
    with pytest.raises(ValueError, match="qwen3-rerank-int8"):
        AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(UnsupportedModelError, match="for CPUs"):
        open_checkpoint(str(folder), {}, "given", 512, reads_quantised=True)


def test_the_folder_says_which_adapter_is_in_it(tmp_path: Path, checkpoint: Path) -> None:
    adapter = write_lora(tmp_path / "adapter", checkpoint)
    alone = RerankerOptions(model=str(adapter))  # whose base is found by its config
    both = RerankerOptions(model=str(checkpoint), adapter=str(adapter))
    for place, options in enumerate((alone, both)):
        folder = quantize_checkpoint(options, tmp_path / str(place))
        said = json.loads((folder / "config.json").read_text("utf-8"))["quantization_config"]
        assert (said["source"], said["source_digest"]) == (checkpoint.name, digest_of(checkpoint))
        assert (said["adapter"], said["adapter_digest"]) == ("adapter", digest_of(adapter))


def test_nothing_is_left_of_what_fails_and_nothing_is_replaced(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(checkpoint, tmp_path / "int8")
    with pytest.raises(ConfigurationError, match="is there already"):
        written(checkpoint, folder)
    with pytest.raises(UnsupportedModelError, match="in eight bits already"):
        written(folder, tmp_path / "again")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "save_file", full)
    with pytest.raises((ModelLoadError, OSError), match="No space left"):
        written(checkpoint, tmp_path / "full")
    assert [file.name for file in tmp_path.iterdir()] == ["int8"]


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a tensor less": (lambda one: one.pop("model.norm.weight"), "model.norm.weight"),
    "a tensor more": (lambda one: one.update(more=torch.ones(1)), "more"),
    "weights in float": (lambda one: one.update({UP: one[UP].float()}), UP),
    "another shape": (lambda one: one.update({UP: one[UP].T.contiguous()}), UP),
    "too large a weight": (lambda one: one[UP][0].fill_(-128), f"{UP} or its scale"),
    "no scale": (lambda one: one[f"{UP}_scale"].fill_(float("nan")), f"{UP} or its scale"),
    "a sign of zero": (lambda one: one["rotation.signs"][0].fill_(0), "rotation.signs"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_written_is_refused(change: str, tmp_path: Path, checkpoint: Path) -> None:
    folder = written(checkpoint, tmp_path / "int8")
    (folder / "model.safetensors.index.json").unlink()
    weights = load_file(folder / FILE)
    (folder / FILE).unlink()
    edit, sign = CHANGES[change]
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError) as caught:
        scores(folder)
    assert sign in str(caught.value)


@pytest.mark.parametrize("field", [{"version": 2}, {"weight_limit": 200}])
def test_another_version_is_refused(
    field: dict[str, int], tmp_path: Path, checkpoint: Path
) -> None:
    folder = written(checkpoint, tmp_path / "int8")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["quantization_config"] |= field
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(UnsupportedModelError, match="expected version 1"):
        scores(folder)


def test_float_weights_relabelled_as_eight_bits_are_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    folder = written(checkpoint, tmp_path / "int8")
    shutil.copy(checkpoint / "model.safetensors", folder)
    for file in ("model.safetensors.index.json", FILE):
        (folder / file).unlink()
    with pytest.raises(UnsupportedModelError, match="Quantise its source again"):
        scores(folder)
