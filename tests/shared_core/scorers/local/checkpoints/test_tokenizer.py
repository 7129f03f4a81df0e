"""A checkpoint's tokenizer read from its file is the one that transformers makes of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from support.texts import random_text
from tokenizers import Tokenizer

from shared_core.prompt.encoding import PairEncoder
from shared_core.scorers.local.checkpoints.tokenizer import read_tokenizer


def assert_alike(one: Tokenizer, other: Tokenizer) -> None:
    source = random.Random(3)
    for _ in range(300):
        text = random_text(source, 60)
        assert (
            one.encode(text, add_special_tokens=False).ids
            == other.encode(text, add_special_tokens=False).ids
        )
    assert one.get_added_tokens_decoder() == other.get_added_tokens_decoder()


@pytest.mark.parametrize("which", ["small_tokenizer", "real_tokenizer"])
def test_it_is_transformers_own(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    theirs: Any = request.getfixturevalue(which)
    theirs.save_pretrained(tmp_path)
    assert_alike(read_tokenizer(tmp_path, "given"), theirs.backend_tokenizer)


def test_a_folder_without_the_file_is_converted(tmp_path: Path, small_tokenizer: Any) -> None:
    """As checkpoints were before there were fast tokenizers: a vocabulary and its merges."""
    small_tokenizer.save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    (tmp_path / "tokenizer.json").unlink()
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    config["added_tokens_decoder"] = {
        str(token["id"]): {key: token[key] for key in token if key != "id"}
        for token in whole["added_tokens"]
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    model = whole["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    merges = "\n".join(" ".join(merge) for merge in model["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")
    assert_alike(read_tokenizer(tmp_path, "given"), small_tokenizer.backend_tokenizer)


def test_an_encoder_leaves_the_tokenizer_as_it_was(small_tokenizer: Any) -> None:
    tokenizer = Tokenizer.from_str(small_tokenizer.backend_tokenizer.to_str())
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=40)
    before = tokenizer.to_str()
    encoder = PairEncoder(tokenizer, 8192)
    (document,) = encoder.encode("Task", "query", ["<|im_end|> and so on " * 9]).documents
    assert tokenizer.to_str() == before
    assert encoder.suffix_ids == PairEncoder(small_tokenizer.backend_tokenizer, 8192).suffix_ids
    assert document.n_tokens > 40
    assert not encoder.control_ids.intersection(document.ids[: -len(encoder.suffix_ids)])
