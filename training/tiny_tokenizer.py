"""A byte-level BPE tokenizer with Qwen3's pipeline and control tokens, trained on our texts."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_prompt import DEFAULT_INSTRUCTION, SUFFIX, instruction_head, query_tail
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

VOCABULARY = 12_288  # embedding rows, control tokens included
COMMON_WORDS = Path(__file__).with_name("common_words.txt")  # docstrings lack everyday English
QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
NOT_SPECIAL = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """A `Tokenizer` of `VOCABULARY` entries; the prompt's own words are single tokens.

    The control tokens have the names, order and `special` flags of Qwen3's and, as there, the
    highest ids.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False
    )
    tokenizer.decoder = decoders.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False
    )
    prompt = instruction_head(DEFAULT_INSTRUCTION) + query_tail("yes\nno") + SUFFIX
    for token in SPECIAL + NOT_SPECIAL:
        prompt = prompt.replace(token, "\n")
    words = COMMON_WORDS.read_text("utf-8").split()
    everyday = " ".join(words + [word + "s" for word in words if len(word) > 2])
    names = " ".join(word.capitalize() for word in words)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(NOT_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([prompt] * 2000 + [everyday] * 60 + [names] * 40 + texts, trainer)
    for names, special in ((SPECIAL, True), (NOT_SPECIAL, False)):
        tokenizer.add_tokens(
            [AddedToken(name, normalized=False, special=special) for name in names]
        )
    for word in ("yes", "no", "Query", "Document", "Instruct", " Document", " web"):
        if len(tokenizer.encode(word).ids) != 1:
            raise RuntimeError(f"{word!r} is not one token")
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json` for `AutoTokenizer`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2TokenizerFast",
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "errors": "replace",
        "model_max_length": 8192,
        "split_special_tokens": False,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
