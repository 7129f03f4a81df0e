"""sentence-transformers' folders of causal rerankers: ``modules.json`` with a ``LogitScore``.

Source: sentence-transformers 6.2 ``cross_encoder/modules/logit_score.py``. Its score is the logit
of the true token less that of the false one; without a false token, the logit of the true one.
Both are margins here, of which the sigmoid is the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_core.errors import ModelLoadError, UnsupportedModelError
from shared_core.scorers.local.checkpoints.files import json_list, json_object

MODULES = "modules.json"

# Parts of the prompt that every rendering of it has in one piece.
_PROMPT_PARTS = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct",
    "<Instruct>:", "<Query>:", "<Document>:", "<think>",
)  # fmt: skip
_ACTIVATIONS = ("Sigmoid", "Identity")


def read_answer_ids(folder: Path, vocab_size: int, name: str) -> tuple[int, ...] | None:
    """Return the ids of the true token and, if there is one, of the false token.

    Args:
        folder: The checkpoint's.
        vocab_size: The number of rows of its head.
        name: The caller's name for it, for messages.

    Returns:
        ``None`` if the folder says nothing of answers.

    Raises:
        ModelLoadError: A file of it is damaged.
        UnsupportedModelError: Its prompt, its modules or its scores are not those computed here.
    """
    if not (folder / MODULES).is_file():
        return None
    modules = [part for part in json_list(folder / MODULES, name) if isinstance(part, dict)]
    kinds = {str(part.get("type")).rpartition(".")[2]: part for part in modules}
    strange = sorted(kinds.keys() - {"Transformer", "LogitScore"})
    if strange:
        raise UnsupportedModelError(
            f"{name!r} has modules of sentence-transformers that are not computed here: "
            f"{', '.join(strange)} ({MODULES}). Use sentence-transformers for it."
        )
    if "LogitScore" not in kinds:
        return None
    path = str(kinds["LogitScore"].get("path"))
    if path != Path(path).name:
        raise ModelLoadError(f"could not load {name!r}: {MODULES} leads out of its folder")
    _check_prompt(folder, name)
    _check_activation(folder, name)
    return _ids(json_object(folder / path / "config.json", name), vocab_size, name)


def _ids(stated: Mapping[str, Any], vocab_size: int, name: str) -> tuple[int, ...]:
    found = [stated.get("true_token_id"), stated.get("false_token_id")]
    ids = [one for one in found if one is not None]
    is_whole = all(type(one) is int and 0 <= one < vocab_size for one in ids)
    if found[0] is None or not is_whole or len({*ids}) != len(ids):
        raise ModelLoadError(
            f"could not load {name!r}: its LogitScore has the tokens {found}; expected one or two "
            f"that differ, from 0 to {vocab_size - 1}"
        )
    return tuple(ids)


def _check_prompt(folder: Path, name: str) -> None:
    """Raise if the folder has a chat template without the parts of our prompt."""
    template: Any = None
    if (folder / "chat_template.jinja").is_file():
        template = (folder / "chat_template.jinja").read_text("utf-8")
    elif (folder / "tokenizer_config.json").is_file():
        template = json_object(folder / "tokenizer_config.json", name).get("chat_template")
    if template is None:
        return
    missing = [part for part in _PROMPT_PARTS if part not in str(template)]
    if missing:
        raise UnsupportedModelError(
            f"{name!r} was trained with another prompt: its chat template has no {missing[0]!r}. "
            "So it is not a Qwen3-Reranker (zerank and its kin are such), and would score wrongly "
            "with the prompt of one. Use sentence-transformers for it."
        )


def _check_activation(folder: Path, name: str) -> None:
    path = folder / "config_sentence_transformers.json"
    stated = json_object(path, name) if path.is_file() else {}
    activation = str(stated.get("activation_fn") or "Sigmoid").rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"{name!r} makes scores of logits by {activation!r} ({path.name}); here it is the "
            "sigmoid. Use sentence-transformers for it."
        )
