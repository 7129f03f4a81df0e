"""Damaged and hostile checkpoints: a clear error before anything is scored, and no code is run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shared_core import ModelLoadError, Reranker, RerankError, ScoringError
from shared_core.scorers.remote.tokenizing import read_tokenizer

WEIGHTS = "model.safetensors"
DOWN = "model.layers.2.mlp.down_proj.weight"
TABLE = "model.embed_tokens.weight"


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path) -> Path:
    copy = tmp_path / "damaged"
    shutil.copytree(checkpoint, copy)
    return copy


def refusal(folder: Path, error: type[Exception] = ModelLoadError, **options: Any) -> str:
    reranker = Reranker(str(folder), device="cpu", **({"dtype": "float32"} | options))
    with pytest.raises(error) as caught:
        reranker.score("query", ["document"])
    assert str(folder) in str(caught.value)
    return str(caught.value)


def change(folder: Path, name: str, edit: Callable[[Any], Any]) -> None:
    weights = load_file(folder / WEIGHTS)
    edit(weights[name])
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def edit_json(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content), "utf-8")


def edit_header(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change the header of the weights, and nothing else."""
    content = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@pytest.mark.parametrize("value", [float("nan"), float("-inf")], ids=str)
@pytest.mark.parametrize(
    "name", [DOWN, "model.norm.weight", "model.layers.0.self_attn.q_norm.weight"]
)
@pytest.mark.parametrize("quantize", [None, "int8"], ids=str)
def test_weights_that_are_not_finite_are_named(
    folder: Path, name: str, value: float, quantize: str | None
) -> None:
    """And half precision is not blamed for them."""
    change(folder, name, lambda weight: weight.view(-1)[3].fill_(value))
    message = refusal(folder, quantize=quantize)
    assert name in message
    assert "not finite" in message
    assert "float16" not in message


def test_a_number_that_the_dtype_does_not_reach_is_told_from_damage(folder: Path) -> None:
    change(folder, DOWN, lambda weight: weight.view(-1)[3].fill_(1e6))
    assert "torch.float16 does not reach" in refusal(folder, dtype="float16")
    with Reranker(str(folder), dtype="float32") as reranker:
        assert len(reranker.score("query", ["document"])) == 1


@pytest.mark.parametrize("words", ["yes", "no", "Judge"])
def test_rows_of_the_table_that_are_not_finite_are_named(
    folder: Path, words: str, small_tokenizer: Any
) -> None:
    (row, *_) = small_tokenizer(words).input_ids
    change(folder, TABLE, lambda table: table[row].fill_(float("nan")))
    reranker = Reranker(str(folder), device="cpu", dtype="float32")
    with pytest.raises(RerankError) as caught:
        reranker.score("query", ["document"])
    assert TABLE in str(caught.value)
    assert "not finite" in str(caught.value)


HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "overlapping": lambda header: header[DOWN].update(data_offsets=[0, 64 * 96 * 4]),
    "beyond the end": lambda header: header[DOWN].update(data_offsets=[2**40, 2**40 + 24576]),
    "backwards": lambda header: header[DOWN].update(data_offsets=[24576, 0]),
    "another size": lambda header: header[DOWN].update(shape=[64, 95]),
    "overflowing": lambda header: header[DOWN].update(shape=[2**62, 2**62]),
    "unknown dtype": lambda header: header[DOWN].update(dtype="F13"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_contradict_themselves_are_refused(folder: Path, kind: str) -> None:
    edit_header(folder, HEADERS[kind])
    assert f"{WEIGHTS} is damaged" in refusal(folder)


@pytest.mark.parametrize("left", [0, 7, 300, -1], ids=str)
def test_truncated_weights_are_refused(folder: Path, left: int) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:left])
    assert f"{WEIGHTS} is damaged" in refusal(folder)


SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "vocab_size": 10**7,
    "num_hidden_layers": 10**9,
    "num_attention_heads": "four",
    "num_key_value_heads": 0,
    "intermediate_size": -96,
    "head_dim": 31,
    "rms_norm_eps": None,
    "max_position_embeddings": True,
}


@pytest.mark.parametrize("key", SIZES)
def test_a_config_that_lies_about_sizes_is_refused(folder: Path, key: str) -> None:
    edit_json(folder / "config.json", lambda config: config.update({key: SIZES[key]}))
    refusal(folder)


PANICS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "while it is read": lambda one: one["model"].update(continuing_subword_prefix="#" * 9),
    "at the first text": lambda one: one.update(
        normalizer={"type": "Replace", "pattern": {"String": ""}, "content": "x"}
    ),
}


@pytest.mark.parametrize("when", PANICS)
def test_a_tokenizer_that_panics_is_a_load_error(folder: Path, when: str) -> None:
    """Rust's panics are no `Exception`, so that handlers of those do not see them."""
    edit_json(folder / "tokenizer.json", PANICS[when])
    with pytest.raises(ModelLoadError, match="tokenizer"):
        Reranker(str(folder), device="cpu").score("query", ["document"])
    if when == "while it is read":
        with pytest.raises(RerankError, match="damaged"):
            read_tokenizer(folder / "tokenizer.json")


def test_a_tokenizer_that_panics_at_one_text_is_a_scoring_error(folder: Path) -> None:
    endless = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated"}
    edit_json(
        folder / "tokenizer.json",
        lambda one: one["pre_tokenizer"]["pretokenizers"].insert(0, endless | {"invert": False}),
    )
    with Reranker(str(folder), device="cpu") as reranker:
        for query, document in (("query", "x" * 60), ("x" * 60, "document")):
            with pytest.raises(ScoringError, match="the tokenizer fails on a text"):
                reranker.score(query, [document])
        assert len(reranker.score("query", ["document"])) == 1


def test_a_tokenizer_that_would_lose_letters_is_refused(folder: Path) -> None:
    def lose(one: dict[str, Any]) -> None:
        """Remove the first byte of every emoji."""
        model = one["model"]
        del model["vocab"]["ð"]
        model["merges"] = [merge for merge in model["merges"] if "ð" not in "".join(merge)]

    edit_json(folder / "tokenizer.json", lose)
    with pytest.raises(ModelLoadError, match="1 of the 256 bytes are no tokens"):
        Reranker(str(folder), device="cpu").score("query", ["document"])


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("container", ["torch", "bare"])
def test_a_pickle_that_would_run_code_is_not_run(
    folder: Path, tmp_path: Path, container: str
) -> None:
    (folder / WEIGHTS).unlink()
    content = {"model.norm.weight": torch.ones(64), "bomb": Hostile(tmp_path / "ran")}
    path = folder / "pytorch_model.bin"
    if container == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    message = refusal(folder)
    assert "weights_only" not in message  # as torch advises
    assert not (tmp_path / "ran").exists()
    assert "safetensors" in message or "damaged" in message


def test_links_of_a_hubs_cache_are_followed_and_broken_ones_are_named(
    folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(blobs / str(number))
        file.symlink_to(Path("..") / "blobs" / str(number))
    with (
        Reranker(str(folder), dtype="float32") as linked,
        Reranker(str(checkpoint), dtype="float32") as plain,
    ):
        assert linked.score("query", ["a", "b"]) == plain.score("query", ["a", "b"])
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/nowhere")
    assert "no weights" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a Unix system, for its named pipes")
def test_what_is_no_file_is_not_waited_for(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    assert "no weights" in refusal(folder)


def test_a_file_written_to_while_its_model_is_in_use_is_no_model_any_more(
    folder: Path, checkpoint: Path
) -> None:
    """Its table of embeddings is mapped: half of another model would be scored with, or worse."""
    with Reranker(str(folder), dtype="float32", device="cpu") as reranker:
        before = reranker.score("query", ["document"])
        fresh = folder / "fresh"
        shutil.copy(folder / WEIGHTS, fresh)
        os.replace(fresh, folder / WEIGHTS)  # as hubs and `save_pretrained` do it: another file
        assert reranker.score("query", ["document"]) == before
        reranker.unload()
        assert reranker.score("query", ["document"]) == before
        with (folder / WEIGHTS).open("r+b") as file:
            file.truncate(100)
        with pytest.raises(RerankError, match="was written to while its model was in use"):
            reranker.score("query", ["document"])
        shutil.copy(checkpoint / WEIGHTS, folder / WEIGHTS)
        reranker.unload()
        assert reranker.score("query", ["document"]) == before
