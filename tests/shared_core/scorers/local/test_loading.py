"""Checkpoints that would score wrongly are refused, each with its reason."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import change_weights, edited

from shared_core import (
    ConfigurationError,
    MissingDependencyError,
    ModelLoadError,
    Reranker,
    RerankerOptions,
    UnsupportedModelError,
)
from shared_core.scorers.local import scorer as scorer_module
from shared_core.scorers.local.devices import dtype_of
from shared_core.scorers.local.loading import load_model


def refusal(folder: Path, error: type[Exception] = UnsupportedModelError) -> str:
    reranker = Reranker(str(folder), device="cpu")
    with pytest.raises(error) as caught:
        reranker.score("query", ["document"])
    assert not reranker.is_loaded
    return str(caught.value)


def test_a_checkpoint_relabelled_as_classifier_has_a_random_head(
    tmp_path: Path, checkpoint: Path
) -> None:
    folder = edited(
        tmp_path,
        checkpoint,
        architectures=["Qwen3ForSequenceClassification"],
        id2label={"0": "LABEL_0"},
        label2id={"LABEL_0": 0},
    )
    message = refusal(folder)
    assert "score.weight" in message
    assert "newly initialised" in message


def test_an_untied_checkpoint_without_its_head_is_refused(
    tmp_path: Path, untied_checkpoint: Path
) -> None:
    folder = edited(tmp_path, untied_checkpoint)
    change_weights(folder, lambda weights: weights.pop("lm_head.weight"))
    assert "lm_head.weight" in refusal(folder)


def test_a_checkpoint_without_one_layers_weights_is_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    folder = edited(tmp_path, checkpoint)
    change_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    assert "model.layers.1.mlp.up_proj.weight" in refusal(folder)


def test_a_classifier_of_two_labels_is_refused(tmp_path: Path, converted_checkpoint: Path) -> None:
    labels = {"0": "no", "1": "yes"}
    folder = edited(tmp_path, converted_checkpoint, id2label=labels, label2id={"no": 0, "yes": 1})
    assert "2 labels" in refusal(folder)


@pytest.mark.parametrize("model_type", ["qwen2", "bert", "xlm-roberta"])
def test_a_model_that_is_not_qwen3_is_refused_with_the_reason(
    tmp_path: Path, checkpoint: Path, model_type: str
) -> None:
    folder = edited(tmp_path, checkpoint, model_type=model_type)
    message = refusal(folder)
    assert repr(model_type) in message
    assert "Qwen3-Reranker" in message


def test_an_unknown_architecture_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    folder = edited(tmp_path, checkpoint, architectures=["Qwen3ForTokenClassification"])
    assert "Qwen3ForTokenClassification" in refusal(folder)


def test_sliding_windows_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    folder = edited(
        tmp_path,
        checkpoint,
        layer_types=["full_attention", "sliding_attention"] * 2,
        num_hidden_layers=4,
        use_sliding_window=True,
        sliding_window=16,
    )
    assert "sliding-window" in refusal(folder)


def test_rotary_scaling_by_batch_length_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    scaling = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}
    folder = edited(tmp_path, checkpoint, rope_parameters=scaling, rope_scaling=scaling)
    assert "'dynamic'" in refusal(folder)


def test_a_tokenizer_that_splits_yes_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    folder = edited(tmp_path, checkpoint)
    path = folder / "tokenizer.json"
    specification = json.loads(path.read_text())
    model = specification["model"]
    model["merges"] = [merge for merge in model["merges"] if "".join(merge) not in ("yes", "es")]
    path.write_text(json.dumps(specification))
    assert "'yes'" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_a_load_error_that_names_the_model(
    tmp_path: Path, checkpoint: Path, name: str
) -> None:
    folder = edited(tmp_path, checkpoint)
    (folder / name).write_bytes((folder / name).read_bytes()[:200])
    assert str(folder) in refusal(folder, ModelLoadError)


def test_a_missing_folder_is_a_load_error_with_advice(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nowhere", ModelLoadError)
    assert "nowhere" in message
    assert "does not exist" in message


def test_a_failed_load_is_tried_again(tmp_path: Path, checkpoint: Path) -> None:
    reranker = Reranker(str(tmp_path / "later"), device="cpu")
    with pytest.raises(ModelLoadError):
        reranker.score("query", ["document"])
    shutil.copytree(checkpoint, tmp_path / "later")
    assert len(reranker.score("query", ["document"])) == 1


def test_answers_of_ones_own(checkpoint: Path, small_tokenizer: Any) -> None:
    """The prompt is the same; the two rows of the head are others."""
    from parity import reference
    from transformers import Qwen3ForCausalLM

    ids = reference.prompt_ids(small_tokenizer, None, "query", "a document")
    logits = Qwen3ForCausalLM.from_pretrained(checkpoint)(torch.tensor([ids])).logits[0, -1]
    yes, no = (small_tokenizer.convert_tokens_to_ids(word) for word in ("the", "in"))
    expected = float(logits[yes] - logits[no])
    with Reranker(
        str(checkpoint), dtype="float32", device="cpu", answers=("the", "in")
    ) as reranker:
        assert reranker.judge("query", ["a document"])[0].logit == pytest.approx(expected, abs=1e-5)
    with (
        Reranker(str(checkpoint), answers=("absolutely so", "no")) as reranker,
        pytest.raises(UnsupportedModelError, match="'absolutely so' as"),
    ):
        reranker.load()
    for wrong in (("no", "no"), ("yes", " ")):
        with pytest.raises(ValueError, match="two words that differ"):
            Reranker("tiny", answers=wrong)


def test_a_converted_head_has_its_answers_in_it(converted_checkpoint: Path) -> None:
    reranker = Reranker(str(converted_checkpoint), answers=("Yes", "No"))
    with pytest.raises(ConfigurationError, match="leave them out"):
        reranker.load()


def test_modelscope_without_its_package_names_the_extra() -> None:
    reranker = Reranker("Qwen/Qwen3-Reranker-0.6B", hub="modelscope")
    with pytest.raises(MissingDependencyError, match=r"qwen3-rerank\[modelscope\]"):
        reranker.score("query", ["document"])


def test_a_local_folder_needs_no_hub(checkpoint: Path) -> None:
    with Reranker(str(checkpoint), hub="modelscope") as reranker:
        assert len(reranker.score("query", ["document"])) == 1


def test_max_length_beyond_the_models_positions_is_lowered_with_a_warning(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = edited(tmp_path, checkpoint, max_position_embeddings=150)
    with (
        caplog.at_level(logging.WARNING, "qwen3_rerank"),
        Reranker(str(folder), max_length=400) as reranker,
    ):
        (one,) = reranker.rerank("query", ["word " * 500])
    assert (one.n_tokens, one.truncated) == (150, True)
    assert "max_length=400" in caplog.text


def test_the_bundled_model_says_once_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "qwen3_rerank"), Reranker("tiny") as reranker:
        assert caplog.text == ""
        for _ in range(2):
            reranker.score("query", ["document"])
    (record,) = caplog.records
    assert "Qwen/Qwen3-Reranker-0.6B" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_weights_load_at_first_use_and_once(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load_model = scorer_module.load_model
    monkeypatch.setattr(
        scorer_module, "load_model", lambda options: loads.append(1) or load_model(options)
    )
    reranker = Reranker(str(checkpoint))
    repr(reranker), reranker.options, reranker.is_loaded
    assert loads == []
    for _ in range(3):
        reranker.score("query", ["document"])
    assert loads == [1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_a_card_is_told_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="Leave device out") as raised:
        Reranker("tiny", device="cuda").score("query", ["document"])
    assert "built without CUDA" in str(raised.value) or "nvidia-smi" in str(raised.value)


@pytest.mark.skipif(
    torch.backends.mps.is_available(), reason="needs a machine without an Apple GPU"
)
def test_mps_without_an_apple_gpu_is_told_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="leave device out"):
        Reranker("tiny", device="mps").score("query", ["document"])


def test_the_bundled_model_is_float32_wherever_auto_would_choose_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The README's figures hold on every machine."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    cpu = torch.device("cpu")
    assert dtype_of(RerankerOptions(model="tiny"), cpu) is torch.float32
    assert dtype_of(RerankerOptions(model="tiny", dtype="bfloat16"), cpu) is torch.bfloat16
    assert dtype_of(RerankerOptions(), cpu) is torch.bfloat16
    assert load_model(RerankerOptions(model="tiny", device="cpu")).dtype is torch.float32
