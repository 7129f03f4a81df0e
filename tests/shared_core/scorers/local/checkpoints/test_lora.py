"""LoRA adapters: scored as PEFT scores and merges them, or refused with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from parity import reference
from safetensors.torch import load_file, save_file
from support.checkpoints import write_checkpoint, write_converted_checkpoint
from transformers import AutoTokenizer, Qwen3ForCausalLM, Qwen3ForSequenceClassification

from shared_core import ModelLoadError, Reranker, UnsupportedModelError
from shared_core.identity import differences, identity

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars looks red.", "Venus is hot.", "", "火星是红色的。", "word " * 60]
UNTIED = {"tie_word_embeddings": False}
HEAD_AND_TABLE = ["lm_head", "embed_tokens"]

# What peft is told, and what is special about the base.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "some layers": ({"target_modules": ["q_proj", "v_proj"]}, {}),
    "all, by rslora": ({"target_modules": "all-linear", "use_rslora": True, "r": 3}, UNTIED),
    "a pattern": ({"target_modules": r".*\.[01]\.(self_attn|mlp)\.(up|o)_proj"}, {}),
    "ranks of their own": (
        {
            "target_modules": "all-linear",
            "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 6},
            "alpha_pattern": {"v_proj": 32},
        },
        {},
    ),
    "layers by number": ({"target_modules": ["q_proj"], "layers_to_transform": [0, 2]}, {}),
    "dora": (
        {"target_modules": "all-linear", "use_dora": True, "exclude_modules": ["up_proj"]},
        {},
    ),
    "conv1d's order": ({"target_modules": ["q_proj"], "fan_in_fan_out": True}, {}),
    "a norm": ({"target_modules": ["q_proj"], "modules_to_save": ["norm"]}, {}),
    "a head": ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, UNTIED),
    "a head of a tied base": ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, {}),
    "both": ({"target_modules": ["q_proj"], "modules_to_save": HEAD_AND_TABLE}, UNTIED),
    "both, tied": (
        {
            "target_modules": ["q_proj"],
            "modules_to_save": ["embed_tokens"],
            "ensure_weight_tying": True,
        },
        {},
    ),
    "low rank in both": ({"target_modules": ["q_proj", *HEAD_AND_TABLE]}, UNTIED),
}


def write_adapter(folder: Path, base: Any, **told: Any) -> Any:
    """Write a random adapter of a model, and return PEFT's model."""
    config = peft.LoraConfig(
        **({"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", "init_lora_weights": False} | told)
    )
    model = peft.get_peft_model(base, config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.05)
    model.save_pretrained(folder)
    return model.eval()


def expected_logits(model: Any, folder: Path) -> list[float]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [reference.prompt_ids(tokenizer, None, QUERY, text) for text in DOCUMENTS]
    return [reference.margin(model, tokenizer, ids) for ids in prompts]


def logits(model: Path | str, **options: Any) -> list[float]:
    with Reranker(str(model), dtype="float32", device="cpu", **options) as reranker:
        return [judged.logit for judged in reranker.judge(QUERY, DOCUMENTS)]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A random adapter of the random checkpoint, which names it as its base."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    base = Qwen3ForCausalLM.from_pretrained(checkpoint)
    write_adapter(folder, base, target_modules="all-linear", modules_to_save=["lm_head"])
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_peft(tmp_path: Path, small_tokenizer: Any, kind: str) -> None:
    """Before it merges, and after."""
    told, shape = KINDS[kind]
    base = write_checkpoint(tmp_path / "base", small_tokenizer, **shape)
    torch.manual_seed(2)
    model = write_adapter(tmp_path / "adapter", Qwen3ForCausalLM.from_pretrained(base), **told)
    found = logits(base, adapter=str(tmp_path / "adapter"))
    assert found == pytest.approx(expected_logits(model, base), abs=1e-5)
    assert found == pytest.approx(expected_logits(model.merge_and_unload(), base), abs=1e-5)
    assert found != pytest.approx(logits(base), abs=1e-2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", HEAD_AND_TABLE)
def test_one_of_two_tied_matrices_leaves_the_other(
    tmp_path: Path, checkpoint: Path, module: str
) -> None:
    """As it was in training. PEFT's own merge changes both, and warns of it."""
    base = Qwen3ForCausalLM.from_pretrained(checkpoint)
    model = write_adapter(tmp_path, base, target_modules=["q_proj", module])
    expected = expected_logits(model, checkpoint)
    assert logits(checkpoint, adapter=str(tmp_path)) == pytest.approx(expected, abs=1e-5)


def test_a_folder_of_an_adapter_alone_finds_its_base(adapter: Path, checkpoint: Path) -> None:
    found = logits(adapter)
    assert found == logits(checkpoint, adapter=str(adapter))
    assert found != pytest.approx(logits(checkpoint), abs=1e-2)


def test_it_is_merged_before_eight_bits(tmp_path: Path, adapter: Path, checkpoint: Path) -> None:
    base = Qwen3ForCausalLM.from_pretrained(checkpoint)
    merged = peft.PeftModel.from_pretrained(base, adapter).merge_and_unload()
    merged.config.tie_word_embeddings = False
    merged.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(tmp_path)
    assert logits(adapter, quantize="int8") == pytest.approx(
        logits(tmp_path, quantize="int8"), abs=1e-3
    )


@pytest.mark.parametrize("is_converted", [True, False])
def test_a_classifier_brings_its_head(
    tmp_path: Path, checkpoint: Path, small_tokenizer: Any, *, is_converted: bool
) -> None:
    """To a converted base, or to the language model that it was made of."""
    base = write_converted_checkpoint(tmp_path / "base", checkpoint)
    model = Qwen3ForSequenceClassification.from_pretrained(base)
    model.config.pad_token_id = small_tokenizer.pad_token_id
    trained = write_adapter(
        tmp_path / "adapter", model, target_modules=["q_proj"], task_type="SEQ_CLS"
    )
    expected = []
    for text in DOCUMENTS:
        ids = reference.prompt_ids(small_tokenizer, None, QUERY, text)
        expected.append(float(trained(torch.tensor([ids])).logits[0, 0]))
    source = base if is_converted else checkpoint
    found = logits(source, adapter=str(tmp_path / "adapter"))
    assert found == pytest.approx(expected, abs=1e-5)


def test_full_weights_beside_an_adapter_are_no_guess(
    tmp_path: Path, adapter: Path, checkpoint: Path
) -> None:
    both = tmp_path / "both"
    shutil.copytree(checkpoint, both)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / file, both)
    with pytest.raises(UnsupportedModelError, match=r"remove its files.*as the adapter, too"):
        logits(both)
    assert logits(both, adapter=str(both)) == logits(adapter)


def test_the_identity_has_its_files(tmp_path: Path, adapter: Path, checkpoint: Path) -> None:
    with Reranker(str(checkpoint), adapter=str(adapter), device="cpu") as reranker:
        before = identity(reranker)
    with Reranker(str(adapter), device="cpu") as alone:
        assert identity(alone) == before
    with Reranker(str(checkpoint), device="cpu") as bare:
        assert any("adapter" in line for line in differences(identity(bare), before))
    shutil.copytree(adapter, tmp_path / "other")
    change_weights(tmp_path / "other", lambda weights: weights.popitem()[1].mul_(2))
    with Reranker(str(checkpoint), adapter=str(tmp_path / "other"), device="cpu") as other:
        assert identity(other) != before


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def _drop(weights: dict[str, torch.Tensor], ending: str) -> None:
    for name in [name for name in weights if name.endswith(ending)]:
        del weights[name]


Q = "base_model.model.model.layers.0.self_attn.q_proj."
REFUSED: dict[str, tuple[Any, str]] = {
    "another kind": ({"peft_type": "IA3"}, "'IA3', and only LoRA is merged"),
    "another task": ({"task_type": "FEATURE_EXTRACTION"}, "FEATURE_EXTRACTION"),
    "biases": ({"bias": "lora_only"}, "bias='lora_only'"),
    "pissa": ({"init_lora_weights": "pissa"}, "began with 'pissa'"),
    "tokens": ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
    "parameters": ({"target_parameters": ["x"]}, "target_parameters"),
    "copies of layers": ({"layer_replication": [[0, 2]]}, "layer_replication"),
    "what comes one day": ({"use_something_new": True}, "use_something_new"),
    "dora without its lengths": ({"use_dora": True}, "too much or too little"),
    "another rank": ({"r": 5}, "of another rank"),
    "fewer modules": ({"target_modules": ["q_proj"]}, "differ on its low-rank matrices"),
    "more modules": ({"target_modules": ["q_proj", "embed_tokens"]}, "differ on its low-rank"),
    "more whole ones": ({"modules_to_save": ["lm_head", "norm"]}, "differ on its whole weights"),
    "no rank": ({"r": "many"}, "r of its adapter_config.json"),
    "no pattern": ({"target_modules": "("}, "which is none"),
    "an endless pattern": ({"target_modules": "(a+)+"}, "could take for ever"),
    "half of a pair": (lambda weights: _drop(weights, "lora_B.weight"), "is without"),
    "a missing layer": (
        lambda weights: _drop(weights, "0.mlp.up_proj.lora_A.weight"),
        "is without",
    ),
    "a stranger": (lambda weights: weights.update({"lora.x": torch.ones(2)}), "nothing would read"),
    "another model": (
        lambda weights: weights.update({Q.replace("q_proj", "w_proj") + "weight": torch.ones(2)}),
        "which its base has not",
    ),
    "other sizes": (
        lambda weights: weights.update({f"{Q}lora_A.weight": torch.ones(4, 65)}),
        r"lora_A.weight of shape \(4, 65\)",
    ),
    "no numbers": (
        lambda weights: weights[f"{Q}lora_A.weight"].fill_(float("nan")),
        "no finite numbers",
    ),
    "whole numbers": (
        lambda weights: weights.update({f"{Q}lora_A.weight": torch.ones(4, 64, dtype=torch.int8)}),
        "numbers of I8",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_score_wrongly_is_refused(
    tmp_path: Path, adapter: Path, checkpoint: Path, kind: str
) -> None:
    change, message = REFUSED[kind]
    folder = tmp_path / "changed"
    shutil.copytree(adapter, folder)
    if callable(change):
        change_weights(folder, change)
    else:
        change_config(folder, **change)
    with pytest.raises(ModelLoadError, match=message) as caught:
        logits(checkpoint, adapter=str(folder))
    assert str(folder) in str(caught.value)


def test_files_that_are_not_there_or_damaged(
    tmp_path: Path, adapter: Path, checkpoint: Path
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(adapter, folder)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelLoadError, match="is damaged"):
        logits(checkpoint, adapter=str(folder))
    weights.rename(folder / "adapter_model.bin")
    with pytest.raises(ModelLoadError, match="a pickle, which can run code"):
        logits(checkpoint, adapter=str(folder))
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(ModelLoadError, match=r"no adapter_model\.safetensors"):
        logits(checkpoint, adapter=str(folder))
    with pytest.raises(ModelLoadError, match=r"no adapter_config\.json"):
        logits(checkpoint, adapter=str(checkpoint))
    with pytest.raises(ModelLoadError, match=r"--local-dir FOLDER"):
        logits(checkpoint, adapter="somebody/an-adapter")


def test_a_base_that_is_not_here(tmp_path: Path, adapter: Path) -> None:
    shutil.copytree(adapter, tmp_path / "moved")
    for base, message in (("/home/them/base", "not on this machine"), (None, "does not name")):
        change_config(tmp_path / "moved", base_model_name_or_path=base)
        with pytest.raises(
            ModelLoadError, match=f"{message}.*as the model, and this as the adapter"
        ):
            logits(tmp_path / "moved")


def test_options_that_contradict_it(adapter: Path) -> None:
    with pytest.raises(ValueError, match="start the server with the adapter"):
        Reranker(base_url="http://localhost:9", adapter=str(adapter))
    with pytest.raises(ValueError, match="set up the server with them"):
        Reranker(base_url="http://localhost:9", answers=("Yes", "No"))
    with pytest.raises(ValueError, match="adapter_revision without an adapter"):
        Reranker("tiny", adapter_revision="v1")
