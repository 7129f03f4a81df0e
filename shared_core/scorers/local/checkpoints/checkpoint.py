"""Checks of a checkpoint before its weights are read, for both local backends."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from shared_core.errors import ConfigurationError, UnsupportedModelError
from shared_core.prompt import NO, YES
from shared_core.prompt.encoding import PairEncoder
from shared_core.prompt.forms import VISION_FORM
from shared_core.scorers.local.checkpoints.config import ModelConfig, load_config
from shared_core.scorers.local.checkpoints.files import (
    checkpoint_folder,
    is_int8,
    quantisation,
    refuse_quantised,
)
from shared_core.scorers.local.checkpoints.int8_format import check_int8
from shared_core.scorers.local.checkpoints.logit_score import read_answer_ids
from shared_core.scorers.local.checkpoints.lora import Adapter
from shared_core.scorers.local.checkpoints.merged import Merged
from shared_core.scorers.local.checkpoints.quantised.weights import QuantisedWeights, is_read
from shared_core.scorers.local.checkpoints.tensors import check_tensors
from shared_core.scorers.local.checkpoints.tokenizer import read_tokenizer
from shared_core.scorers.local.checkpoints.vision_config import is_vision, load_vision_config
from shared_core.scorers.local.checkpoints.vision_weights import (
    LanguageWeights,
    VisionPart,
    check_visual,
    with_adapter,
)
from shared_core.scorers.local.checkpoints.weights import FileWeights, Weights

logger = logging.getLogger("qwen3_rerank")

# The size of Qwen3's vocabulary without added tokens, and some of its entries.
_QWEN3_VOCABULARY = 151643
_QWEN3_IDS = {
    "yes": 9693, "no": 2152, "<|endoftext|>": 151643, "<|im_start|>": 151644,
    "<|im_end|>": 151645, "<think>": 151667, "</think>": 151668,
}  # fmt: skip
_ENDS = ("<|im_end|>", "<|endoftext|>")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that passed all checks.

    Attributes:
        folder: The folder of its files.
        config: The sizes of the model.
        weights: The tensors, all of which are read.
        stated: The content of ``config.json``.
        tokenizer: The tokenizer of the model.
        encoder: Makes prompts with it.
        answer_ids: The tokens whose logits make the margin: yes and no, or yes alone; of a
            converted head none.
        vision: What it reads images with; ``None`` if it does not.
    """

    folder: Path
    config: ModelConfig
    weights: Weights
    stated: dict[str, Any]
    tokenizer: Tokenizer
    encoder: PairEncoder
    answer_ids: tuple[int, ...]
    vision: VisionPart | None = None

    @property
    def is_int8(self) -> bool:
        """Whether its weights are in eight bits already, by `int8_format`."""
        return is_int8(self.stated)


def open_checkpoint(
    source: str,
    hub_options: dict[str, Any],
    name: str,
    max_length: int,
    *,
    adapter: Path | None = None,
    answers: tuple[str, str] = (YES, NO),
    reads_quantised: bool = False,
) -> Checkpoint:
    """Return a checkpoint that scores correctly; its weights are not read yet.

    Args:
        source: A folder, or a name on the hub.
        hub_options: Hub options, as for ``from_pretrained``.
        name: The caller's name for it, for messages.
        max_length: The most tokens of a prompt; lowered to the model's positions.
        adapter: The folder of a LoRA adapter, which is merged in.
        answers: The words that mean yes and no.
        reads_quantised: Whether the backend scales quantised layers itself.

    Raises:
        ModelLoadError: Files are missing or damaged.
        ConfigurationError: There are other answers, and the head has no rows for words.
        UnsupportedModelError: The folder is not a Qwen3 reranker whose tensors are all read.
        Exception: Whatever the hub or the file system raise.
    """
    folder = checkpoint_folder(source, hub_options)
    config, stated = load_config(folder, name, has_adapter=adapter is not None)
    if is_vision(stated):
        if reads_quantised and (adapter is not None or quantisation(folder, stated) is not None):
            raise UnsupportedModelError(
                f"{name!r} reads images: vLLM is given such a model in full weights alone, without "
                'an adapter. Use backend="transformers", or merge them and give that folder'
            )
        return _open_vision(folder, config, stated, name, max_length, answers, adapter)
    if is_int8(stated) and reads_quantised:
        raise UnsupportedModelError(
            f"{name!r} was written by qwen3-rerank quantize, for CPUs: use "
            'backend="transformers", or the model that it was made of'
        )
    is_scaled_here = is_read(stated) and not reads_quantised
    if not reads_quantised and not is_int8(stated) and not is_scaled_here:
        refuse_quantised(folder, stated, name)
    tokenizer = read_tokenizer(folder, name)
    encoder = PairEncoder(tokenizer, bounded_length(config, max_length), answers)
    check_vocabulary(tokenizer, config, folder, name)
    weights: Weights = FileWeights(folder, name)
    if is_scaled_here:
        weights = QuantisedWeights(weights, stated, name)
    is_quantised = quantisation(folder, stated) is not None and not is_scaled_here
    if adapter is not None:
        if is_quantised:
            raise UnsupportedModelError(
                f"{name!r} is quantised, and an adapter is merged into full weights: give the "
                "model that it was made of, with the same adapter"
            )
        weights = Merged(weights, Adapter(adapter), ties=config.tie_word_embeddings)
        config = replace(
            config,
            tie_word_embeddings=weights.ties,
            is_causal=config.is_causal and weights.is_causal,
        )
    if answers != (YES, NO) and not config.is_causal:
        raise ConfigurationError(
            f"answers={answers!r}: the head of {name!r} is one row, which has its answers in it "
            "already; leave them out"
        )
    if is_int8(stated):
        check_int8(weights, config, stated, name)
        config = replace(config, is_causal=False)
        return Checkpoint(folder, config, weights, stated, tokenizer, encoder, ())
    answer_ids = _answer_ids(folder, config, encoder, name)
    check_tensors(
        weights,
        config,
        name,
        answer_ids=answer_ids,
        reads_quantised=reads_quantised and is_quantised,
    )
    return Checkpoint(folder, config, weights, stated, tokenizer, encoder, answer_ids)


def _open_vision(
    folder: Path,
    config: ModelConfig,
    stated: dict[str, Any],
    name: str,
    max_length: int,
    answers: tuple[str, str],
    adapter: Path | None,
) -> Checkpoint:
    """Return the checkpoint of a model that reads images, too. See `open_checkpoint`."""
    if not is_read(stated):
        refuse_quantised(folder, stated, name)
    vision = load_vision_config(stated, folder, name)
    tokenizer = read_tokenizer(folder, name)
    length = bounded_length(config, max_length)
    encoder = PairEncoder(tokenizer, length, answers, VISION_FORM)
    check_vocabulary(tokenizer, config, folder, name)
    weights: Weights = FileWeights(folder, name)
    if is_read(stated):
        weights = QuantisedWeights(weights, stated, name)
    if adapter is not None:
        weights = with_adapter(weights, Adapter(adapter))
    check_visual(weights, vision, name)
    language = LanguageWeights(weights)
    answer_ids = encoder.answer_ids
    check_tensors(language, config, name, answer_ids=answer_ids)
    part = VisionPart(vision, weights)
    return Checkpoint(folder, config, language, stated, tokenizer, encoder, answer_ids, part)


def _answer_ids(
    folder: Path, config: ModelConfig, encoder: PairEncoder, name: str
) -> tuple[int, ...]:
    stored = read_answer_ids(folder, config.vocab_size, name)
    if not config.is_causal:
        return ()
    if stored is None:
        return encoder.answer_ids
    if encoder.answers != (YES, NO) and encoder.answer_ids != stored:
        raise ConfigurationError(
            f"answers={encoder.answers!r}: {name!r} says itself which tokens it answers with "
            "(LogitScore), and they are others: leave them out"
        )
    return stored


def bounded_length(config: ModelConfig, max_length: int) -> int:
    """Return the prompt length that the model has positions for."""
    limit = config.max_position_embeddings
    if max_length > limit:
        logger.warning(
            "max_length=%d is more than the model's %d positions; using %d",
            max_length,
            limit,
            limit,
        )
    return min(max_length, limit)


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, folder: Path, name: str) -> None:
    """Raise if the tokenizer visibly differs from the one that the model was trained with.

    Raises:
        UnsupportedModelError: Names the token or the number that gives it away.
    """
    added = {index: token.content for index, token in tokenizer.get_added_tokens_decoder().items()}
    size = max(tokenizer.get_vocab_size(with_added_tokens=True), max(added, default=0) + 1)
    of_another = f"the tokenizer of {name!r} is not the one that its model was trained with: "
    if size > config.vocab_size:
        raise UnsupportedModelError(
            f"{of_another}it has {size} tokens, the model {config.vocab_size} (vocab_size)"
        )
    if tokenizer.get_vocab_size(with_added_tokens=False) >= _QWEN3_VOCABULARY:
        for token, expected in _QWEN3_IDS.items():
            index = tokenizer.token_to_id(token)
            if index != expected:
                raise UnsupportedModelError(f"{of_another}{token!r} is {index}, not {expected}")
    ends = config.eos_token_id
    for index in ends if isinstance(ends, list) else [ends]:
        if index is not None and added.get(index) not in _ENDS:
            raise UnsupportedModelError(
                f"{of_another}token {index} is {tokenizer.id_to_token(index)!r}, config.json says "
                f"that it ends a turn (eos_token_id)"
            )
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for index, token in (stated.get("added_tokens_decoder") or {}).items():
        content = token.get("content") if isinstance(token, dict) else token
        if added.get(int(index)) != content:
            raise UnsupportedModelError(
                f"{name!r} has two tokenizers that differ: token {index} is "
                f"{added.get(int(index))!r} in tokenizer.json and {content!r} in {path.name}"
            )
