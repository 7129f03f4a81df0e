"""Checkpoints that are more, or other, than what the forward reads: refused before it begins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import change_weights, edited, model_config
from support.refusals import refusal
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

from shared_core import ModelLoadError, Reranker, UnsupportedModelError
from shared_core.scorers.local.checkpoints.checkpoint import open_checkpoint
from shared_core.scorers.local.checkpoints.tensors import read_shapes

Weights = dict[str, Any]
QUERY_WEIGHT = "model.layers.1.self_attn.q_proj.weight"


def with_weights(folder: Path, source: Path, change: Callable[[Weights], Any]) -> Path:
    copy = edited(folder, source)
    change_weights(copy, change)
    return copy


def in_eight_bits(weights: Weights) -> None:
    weight = weights[QUERY_WEIGHT]
    weights[QUERY_WEIGHT] = weight.to(torch.float8_e4m3fn)
    weights[f"{QUERY_WEIGHT}_scale_inv"] = torch.ones(1, 1)


def as_adapter(weights: Weights) -> None:
    for part in ("lora_A", "lora_B"):
        weights[f"base_model.model.{QUERY_WEIGHT[:-7]}.{part}.weight"] = torch.randn(4, 64)


UNREAD: dict[str, tuple[Callable[[Weights], Any], str]] = {
    "scales of fp8": (in_eight_bits, "scale"),
    "bias": (lambda w: w.update({QUERY_WEIGHT[:-6] + "bias": torch.randn(128)}), "attention_bias"),
    "adapter": (as_adapter, "merge_and_unload"),
    "a layer more": (
        lambda w: w.update({"model.layers.3.mlp.up_proj.weight": torch.randn(96, 64)}),
        "num_hidden_layers",
    ),
    "another head": (lambda w: w.update({"score.weight": torch.randn(1, 64)}), "score.weight"),
    "two names": (lambda w: w.update({"norm.weight": torch.randn(64)}), "norm.weight"),
}


@pytest.mark.parametrize("kind", UNREAD)
@pytest.mark.parametrize("source", ["checkpoint", "converted_checkpoint"])
def test_a_tensor_that_nobody_reads_is_named(
    tmp_path: Path, request: pytest.FixtureRequest, source: str, kind: str
) -> None:
    change, sign = UNREAD[kind]
    if (source, kind) == ("converted_checkpoint", "another head"):
        change, sign = lambda w: w.update({"score.bias": torch.ones(1)}), "score.bias"
    message = refusal(with_weights(tmp_path, request.getfixturevalue(source), change))
    assert sign in message
    assert "nothing would read" in message


def test_fewer_layers_in_the_config_than_in_the_file_are_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    folder = edited(tmp_path, checkpoint, num_hidden_layers=2, layer_types=["full_attention"] * 2)
    assert "num_hidden_layers" in refusal(folder)


def test_a_bias_that_the_config_promises_must_be_there(tmp_path: Path, checkpoint: Path) -> None:
    folder = edited(tmp_path, checkpoint, attention_bias=True)
    assert "model.layers.0.self_attn.q_proj.bias" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e5m2, torch.int32])
def test_weights_that_are_no_floats_are_refused(
    tmp_path: Path, checkpoint: Path, dtype: torch.dtype
) -> None:
    folder = with_weights(
        tmp_path, checkpoint, lambda w: w.update({QUERY_WEIGHT: w[QUERY_WEIGHT].to(dtype)})
    )
    assert QUERY_WEIGHT in refusal(folder)


def test_another_shape_than_the_configs_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    folder = with_weights(
        tmp_path, checkpoint, lambda w: w.update({QUERY_WEIGHT: torch.randn(64, 64)})
    )
    assert "(64, 64)" in refusal(folder)


def test_a_head_that_says_yes_as_it_says_no_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    """An untied head that was never loaded is saved as zeros: every score would be 0.5."""
    folder = with_weights(
        tmp_path, checkpoint, lambda w: w.update({name: 0 * weight for name, weight in w.items()})
    )
    assert "every score would be 0.5" in refusal(folder)


def test_a_head_beside_tied_embeddings_must_be_theirs(tmp_path: Path, checkpoint: Path) -> None:
    def with_head(factor: float) -> Path:
        return with_weights(
            tmp_path / str(factor),
            checkpoint,
            lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"] * factor}),
        )

    with (
        Reranker(str(with_head(1.0)), dtype="float32") as same,
        Reranker(str(checkpoint), dtype="float32") as plain,
    ):
        assert same.score("query", ["a", "b"]) == plain.score("query", ["a", "b"])
    assert "tie_word_embeddings" in refusal(with_head(-1.0))


def test_saved_rotary_frequencies_must_be_those_of_the_config(
    tmp_path: Path, checkpoint: Path
) -> None:
    def saved(base: float) -> Path:
        frequencies = 1.0 / base ** (torch.arange(0, 32, 2) / 32)
        return with_weights(
            tmp_path / f"{base:.0f}",
            checkpoint,
            lambda w: w.update({"model.layers.0.self_attn.rotary_emb.inv_freq": frequencies}),
        )

    with Reranker(str(saved(1e6))) as reranker:
        assert len(reranker.score("query", ["document"])) == 1
    assert "inv_freq" in refusal(saved(1e4))


def shards(folder: Path, *, index: dict[str, str] | None = None) -> None:
    """Divide the weights of a folder into two files with an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    text = json.dumps({"metadata": {}, "weight_map": weight_map | (index or {})})
    (folder / "model.safetensors.index.json").write_text(text)


def test_shards_are_looked_at_as_one_file(tmp_path: Path, checkpoint: Path) -> None:
    folder = edited(tmp_path, checkpoint)
    shards(folder)
    with (
        Reranker(str(folder), dtype="float32") as sharded,
        Reranker(str(checkpoint), dtype="float32") as whole,
    ):
        assert sharded.score("query", ["a", "b"]) == whole.score("query", ["a", "b"])
    extra = with_weights(tmp_path / "extra", checkpoint, as_adapter)
    shards(extra)
    assert "merge_and_unload" in refusal(extra)


def test_an_index_that_names_other_files_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    lacking = edited(tmp_path / "lacking", checkpoint)
    shards(lacking, index={"model.norm.weight": "model-00003-of-00003.safetensors"})
    assert "model-00003-of-00003.safetensors" in refusal(lacking, ModelLoadError)
    outside = edited(tmp_path / "outside", checkpoint)
    shards(outside, index={"model.norm.weight": "../edited/model.safetensors"})
    assert "damaged" in refusal(outside, ModelLoadError)
    other = edited(tmp_path / "other", checkpoint)
    shards(other)
    index = other / "model.safetensors.index.json"
    said = json.loads(index.read_text())
    del said["weight_map"]["model.norm.weight"]
    index.write_text(json.dumps(said))
    assert "model.norm.weight" in refusal(other)


@pytest.mark.parametrize(
    "second",
    ["model-00001-of-00002.safetensors", "consolidated.safetensors", "pytorch_model.bin"],
)
def test_two_sets_of_weights_in_one_folder_are_refused(
    tmp_path: Path, checkpoint: Path, second: str
) -> None:
    folder = edited(tmp_path, checkpoint)
    shutil.copy(folder / "model.safetensors", folder / second)
    message = refusal(folder)
    assert second in message
    assert "several sets of weights" in message


def test_pickled_weights_are_looked_at_alike(tmp_path: Path, checkpoint: Path) -> None:
    for name, change in (("plain", None), ("extra", as_adapter)):
        folder = edited(tmp_path / name, checkpoint)
        weights = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        if change is not None:
            change(weights)
        torch.save(weights, folder / "pytorch_model.bin")
    with (
        Reranker(str(tmp_path / "plain/edited"), dtype="float32") as pickled,
        Reranker(str(checkpoint), dtype="float32") as whole,
    ):
        assert pickled.score("query", ["a", "b"]) == whole.score("query", ["a", "b"])
    assert "merge_and_unload" in refusal(tmp_path / "extra/edited")


@pytest.mark.parametrize("beside", ["full weights", "alone"])
def test_an_adapter_is_refused_with_what_to_do(
    tmp_path: Path, checkpoint: Path, beside: str
) -> None:
    folder = edited(tmp_path, checkpoint)
    said = {"peft_type": "LORA", "base_model_name_or_path": str(checkpoint), "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    if beside == "alone":
        (folder / "config.json").unlink()
    else:
        shutil.copy(checkpoint / "model.safetensors", folder)
    message = refusal(folder)
    assert ("as the adapter, too" if beside == "full weights" else "nothing would read") in message
    assert str(folder) in message


def test_another_model_of_images_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    message = refusal(edited(tmp_path, checkpoint, model_type="qwen2_5_vl"))
    assert "not 'qwen3' or 'qwen3_vl'" in message


QUANTISED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "torchao": ({"quantization_config": {"quant_method": "torchao"}}, {}),
    "hqq": ({"compression_config": {"quant_method": "hqq"}}, {}),
    "['gptq']": ({"quantization_config": {"quant_method": ["gptq"]}}, {}),
    "nested": ({"text_config": {"quantization_config": {"quant_method": "nested"}}}, {}),
    "NVFP4": ({}, {"hf_quant_config.json": {"quantization": {"quant_algo": "NVFP4"}}}),
    "unnamed": ({}, {"quantize_config.json": {"bits": 4, "group_size": 128}}),
}


@pytest.mark.parametrize("method", QUANTISED)
def test_a_quantised_checkpoint_is_refused_by_its_method(
    tmp_path: Path, checkpoint: Path, method: str
) -> None:
    config, files = QUANTISED[method]
    folder = edited(tmp_path, checkpoint, **config)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    message = refusal(folder)
    assert f"is quantised: {'of an unnamed' if method == 'unnamed' else method}" in message
    assert 'quantize="int8"' in message


def test_a_backend_that_reads_quantised_layers_gets_those_and_nothing_else(
    tmp_path: Path, checkpoint: Path
) -> None:
    """As vLLM does: it scales what it was told of, and skips what it does not know."""

    def opened(folder: Path) -> bool:
        return open_checkpoint(str(folder), {}, "given", 512, reads_quantised=True).config.is_causal

    folder = with_weights(tmp_path, checkpoint, in_eight_bits)
    with pytest.raises(UnsupportedModelError, match="scale"):
        opened(folder)  # its config does not say that it is quantised
    path = folder / "config.json"
    said = {"quantization_config": {"quant_method": "fp8"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    assert opened(folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight_scale"] = torch.ones(1)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnsupportedModelError, match="embed_tokens"):
        opened(folder)  # the head is made of the embeddings


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "activation": ({"hidden_act": "gelu"}, "hidden_act"),
    "chunked": ({"layer_types": ["chunked_attention"] * 3}, "chunked_attention"),
    "both ways": ({"is_causal": False}, "causal"),
    "rotary bases": ({"rope_theta": 5e5}, "rope_theta"),
    "part of a head": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_of_what_is_not_computed_here_is_refused(
    tmp_path: Path, checkpoint: Path, kind: str
) -> None:
    config, sign = CONFIGS[kind]
    assert sign in refusal(edited(tmp_path, checkpoint, **config))


def test_a_hub_checkpoint_is_looked_at_in_the_cache(tmp_path: Path, checkpoint: Path) -> None:
    """As the hub's client lays it out; other formats in the repository do not matter."""
    repository = tmp_path / "models--someone--reranker"
    commit = "0" * 40
    for name, change in (("plain", None), ("adapter", as_adapter)):
        snapshot = repository / "snapshots" / commit
        shutil.rmtree(repository, ignore_errors=True)
        source = checkpoint if change is None else with_weights(tmp_path / name, checkpoint, change)
        shutil.copytree(source, snapshot)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
        with Reranker(
            "someone/reranker", cache_dir=tmp_path, local_files_only=True, dtype="float32"
        ) as cached:
            if change is None:
                with Reranker(str(checkpoint), dtype="float32") as folder:
                    assert cached.score("q", ["a"]) == folder.score("q", ["a"])
            else:
                with pytest.raises(UnsupportedModelError, match="merge_and_unload"):
                    cached.score("q", ["a"])


def test_names_without_prefix_are_the_same_tensors(tmp_path: Path, checkpoint: Path) -> None:
    def shortened(weights: Weights) -> None:
        for name in list(weights):
            weights[name.removeprefix("model.")] = weights.pop(name)

    folder = with_weights(tmp_path, checkpoint, shortened)
    with (
        Reranker(str(folder), dtype="float32") as short,
        Reranker(str(checkpoint), dtype="float32") as whole,
    ):
        assert short.score("query", ["a", "b"]) == whole.score("query", ["a", "b"])


def test_what_is_read_is_what_transformers_says(checkpoint: Path) -> None:
    """The list of tensors is our own; it must not fall behind the model's."""
    config = Qwen3Config.from_pretrained(checkpoint)
    for tied in (True, False):
        for bias in (True, False):
            config.tie_word_embeddings, config.attention_bias, config.num_labels = tied, bias, 1
            for architecture in (Qwen3ForCausalLM, Qwen3ForSequenceClassification):
                is_causal = architecture is Qwen3ForCausalLM
                with torch.device("meta"):
                    state = architecture(config).state_dict()
                if tied:
                    state.pop("lm_head.weight", None)
                shapes = {name: tuple(value.shape) for name, value in state.items()}
                assert read_shapes(model_config(config, is_causal=is_causal)) == shapes
