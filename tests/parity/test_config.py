"""Every number of a checkpoint's config counts: each is set so far off that ignoring it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity import reference
from safetensors.torch import load_file
from support.checkpoints import random_config
from transformers import Qwen3ForCausalLM

from shared_core import Reranker
from shared_core.options import RerankerOptions
from shared_core.scorers.local.loading import load_model

QUERY = "Which planet is red?"
DOCUMENTS = ["Mars is red.", "Venus is hot and bright.", "planet " * 60, "Tea."]

CONFIGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "epsilon": {"rms_norm_eps": 0.3},
    "bias": {"attention_bias": True},
    "one head for all": {"num_key_value_heads": 1},
    "as many heads": {"num_key_value_heads": 4},
    "wide heads": {"head_dim": 48},
    "rotary base": {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 3.0}},
    "yarn": {
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 100.0,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "untied": {"tie_word_embeddings": False},
}


def written(folder: Path, tokenizer: Any, **overrides: Any) -> Qwen3ForCausalLM:
    """Write a checkpoint whose norms and biases are as uneven as those of trained models."""
    torch.manual_seed(3)
    fields = {"rope_theta": None} if "rope_parameters" in overrides else {}
    config = random_config(len(tokenizer), initializer_range=0.15, **(fields | overrides))
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.2, 3.0)
            if name.endswith("bias"):
                weight.normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def margins(model: Qwen3ForCausalLM, tokenizer: Any) -> list[float]:
    return [
        reference.margin(model, tokenizer, reference.prompt_ids(tokenizer, None, QUERY, document))
        for document in DOCUMENTS
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_margins_are_those_of_the_model_that_the_config_says(
    name: str, tmp_path: Path, small_tokenizer: Any
) -> None:
    model = written(tmp_path / "own", small_tokenizer, **CONFIGS[name])
    expected = margins(model, small_tokenizer)
    with Reranker(str(tmp_path / "own"), device="cpu", dtype="float32") as reranker:
        ranked = reranker.rerank(QUERY, DOCUMENTS)
    found = {one.index: one.logit for one in ranked}
    assert [found[index] for index in range(4)] == pytest.approx(expected, abs=1e-4, rel=1e-5)
    if name != "usual":  # else what is ignored would not show
        usual = margins(written(tmp_path / "usual", small_tokenizer), small_tokenizer)
        assert max(abs(a - b) for a, b in zip(usual, expected, strict=True)) > 0.05


@pytest.mark.parametrize("tied", [True, False])
def test_the_head_is_the_row_of_yes_less_that_of_no(
    tmp_path: Path, small_tokenizer: Any, tied: bool
) -> None:
    """Read from the file itself."""
    written(tmp_path, small_tokenizer, tie_word_embeddings=tied)
    weights = load_file(tmp_path / "model.safetensors")
    head = weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
    yes, no = (small_tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    loaded = load_model(RerankerOptions(model=str(tmp_path), device="cpu", dtype="float32"))
    assert torch.equal(loaded.margin_weight, head[yes] - head[no])
    assert head[no].norm() > 0.1
