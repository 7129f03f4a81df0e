"""What vLLM would read wrongly without a word is refused before an engine is started."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from shared_core import UnsupportedModelError
from shared_core.options import RerankerOptions

QUERY_WEIGHT = "model.layers.1.self_attn.q_proj.weight"


def read(folder: Path) -> str:
    from shared_core.scorers.vllm.engine import read_checkpoint  # imports vLLM

    options = RerankerOptions(model=str(folder), backend="vllm", max_length=512)
    prepared = read_checkpoint(options)
    assert prepared.arguments["trust_remote_code"] is False
    return str(prepared.arguments["model"])


def changed(folder: Path, **more: torch.Tensor) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | more, folder / "model.safetensors", {"format": "pt"})


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def test_an_adapter_beside_the_weights_is_refused(folder: Path) -> None:
    assert read(folder) == str(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModelError, match="as the adapter, too"):
        read(folder)


def test_a_bias_that_vllm_would_skip_is_refused(folder: Path) -> None:
    changed(folder, **{QUERY_WEIGHT.replace("weight", "bias"): torch.ones(128)})
    with pytest.raises(UnsupportedModelError, match="attention_bias"):
        read(folder)


def test_quantised_layers_are_vllms_where_the_config_says_so(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    changed(
        folder,
        **{
            QUERY_WEIGHT: weights[QUERY_WEIGHT].to(torch.float8_e4m3fn),
            f"{QUERY_WEIGHT}_scale": torch.ones(1),
        },
    )
    with pytest.raises(UnsupportedModelError, match="scale"):
        read(folder)
    path = folder / "config.json"
    said = {"quantization_config": {"quant_method": "fp8"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    assert read(folder) == str(folder)
