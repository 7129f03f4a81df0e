"""Tokenizers that do not belong to a checkpoint are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.checkpoints import edited, random_config
from support.refusals import refusal
from transformers import Qwen3ForCausalLM

from shared_core import Reranker


def edit_tokenizer(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "tokenizer.json"
    specification = json.loads(path.read_text("utf-8"))
    change(specification)
    path.write_text(json.dumps(specification), "utf-8")


def test_a_tokenizer_of_more_tokens_than_the_model_has_is_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    folder = edited(tmp_path, checkpoint)
    token = {"content": "<extra>", "id": 99999, "special": True, "single_word": False}
    token |= {"lstrip": False, "rstrip": False, "normalized": False}
    edit_tokenizer(folder, lambda one: one["added_tokens"].append(token))
    assert "vocab_size" in refusal(folder)


def test_added_tokens_in_another_order_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    def swapped(specification: dict[str, Any]) -> None:
        start, end = (
            next(one for one in specification["added_tokens"] if one["content"] == content)
            for content in ("<|im_start|>", "<|im_end|>")
        )
        start["content"], end["content"] = end["content"], start["content"]

    specification = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    (end,) = (t["id"] for t in specification["added_tokens"] if t["content"] == "<|im_end|>")
    by_config = edited(tmp_path / "config", checkpoint, eos_token_id=end)
    edit_tokenizer(by_config, swapped)
    assert "eos_token_id" in refusal(by_config)

    by_file = edited(tmp_path / "file", checkpoint)
    path = by_file / "tokenizer_config.json"
    decoder = {str(end): {"content": "<|im_end|>"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"added_tokens_decoder": decoder}))
    with Reranker(str(by_file)) as reranker:
        assert len(reranker.score("query", ["document"])) == 1
    edit_tokenizer(by_file, swapped)
    assert "tokenizer_config.json" in refusal(by_file)


def test_the_tokenizer_of_a_smaller_model_is_refused(tmp_path: Path, small_tokenizer: Any) -> None:
    model = Qwen3ForCausalLM(
        random_config(151669, hidden_size=8, num_hidden_layers=1, eos_token_id=151645)
    )
    model.save_pretrained(tmp_path)
    small_tokenizer.save_pretrained(tmp_path)
    assert "eos_token_id" in refusal(tmp_path)


def test_a_vocabulary_of_qwen3s_size_in_another_order_is_refused(
    tmp_path: Path, real_tokenizer: Any
) -> None:
    def swapped(specification: dict[str, Any]) -> None:
        vocabulary = specification["model"]["vocab"]
        vocabulary["yes"], vocabulary["Yes"] = vocabulary["Yes"], vocabulary["yes"]

    real_tokenizer.save_pretrained(tmp_path)
    Qwen3ForCausalLM(random_config(151669, hidden_size=8, num_hidden_layers=1)).save_pretrained(
        tmp_path
    )
    edit_tokenizer(tmp_path, swapped)
    assert "'yes' is 9454, not 9693" in refusal(tmp_path)
