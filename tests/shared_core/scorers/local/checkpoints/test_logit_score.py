"""Folders that sentence-transformers writes: its own scores, or the reason why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from parity import reference
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, Qwen3ForCausalLM

from shared_core import ConfigurationError, ModelLoadError, Reranker, UnsupportedModelError

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars looks red.", "Venus is hot.", "", "火星是红色的。"]


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path) -> Path:
    """The random checkpoint as a CrossEncoder saves it."""
    CrossEncoder(str(checkpoint), device="cpu").save_pretrained(str(tmp_path))
    return tmp_path


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def margins(folder: Path, **options: Any) -> list[float]:
    with Reranker(str(folder), dtype="float32", device="cpu", **options) as reranker:
        return [judged.logit for judged in reranker.judge(QUERY, DOCUMENTS)]


@pytest.mark.parametrize("ids", [None, (300, 40), (300, None)])
def test_scores_are_those_of_sentence_transformers(
    folder: Path, checkpoint: Path, ids: tuple[int, int | None] | None
) -> None:
    """Of its module, over the prompt that ours is; without a false token, the true one's logit."""
    path = folder / "1_LogitScore" / "config.json"
    if ids is not None:
        change(path, true_token_id=ids[0], false_token_id=ids[1])
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    module = CrossEncoder(str(folder), device="cpu")[1]
    model = Qwen3ForCausalLM.from_pretrained(checkpoint).eval()
    expected = []
    for text in DOCUMENTS:
        prompt = reference.torch.tensor([reference.prompt_ids(tokenizer, None, QUERY, text)])
        with reference.torch.no_grad():
            found = module({"causal_logits": model(prompt).logits})
        expected.append(float(found["scores"].flatten()[0]))
    assert margins(folder) == pytest.approx(expected, abs=1e-5)


def test_a_prompt_of_its_own_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("<|im_start|>system\n{{ query }}<|im_end|>")
    with pytest.raises(UnsupportedModelError, match=r"another prompt.*zerank"):
        margins(folder)


def test_the_published_template_is_ours(folder: Path) -> None:
    expected = margins(folder)
    parts = (reference.PREFIX, "<Instruct>: <Query>: <Document>: ", reference.SUFFIX)
    (folder / "chat_template.jinja").write_text("".join(parts))
    assert margins(folder) == expected


def test_what_is_not_computed_here_is_refused(folder: Path) -> None:
    config = folder / "config_sentence_transformers.json"
    change(config, activation_fn="torch.nn.modules.activation.Tanh")
    with pytest.raises(UnsupportedModelError, match="'Tanh'"):
        margins(folder)
    change(config, activation_fn="torch.nn.modules.linear.Identity")
    with pytest.raises(ConfigurationError, match="they are others"):
        margins(folder, answers=("the", "in"))
    for ids in ((None, 3), (10**6, 3), (3, 3), ("a", 3)):
        change(folder / "1_LogitScore/config.json", true_token_id=ids[0], false_token_id=ids[1])
        with pytest.raises(ModelLoadError, match="expected one or two"):
            margins(folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelLoadError, match="out of its folder"):
        margins(folder)
    modules[1]["type"] = "sentence_transformers.models.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModelError, match="not computed here: Dense"):
        margins(folder)
