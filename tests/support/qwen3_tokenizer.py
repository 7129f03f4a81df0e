"""The tokenizer of Qwen3, made from the vocabulary that the package `dashscope` ships.

Its file `resources/qwen.tiktoken` (Apache 2.0) holds the byte sequences of Qwen's 151,643 tokens in
order of rank. A byte-level BPE follows from them: a token of several bytes is the merge of the two
parts that lower ranks leave of it. Normaliser, pattern and added tokens are those of the file
`tokenizer.json` of Qwen/Qwen3-Reranker-0.6B.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Of the file `tokenizer.json` as `write_tokenizer` makes it.
SHA256 = "a15cda23be411de16c671b7e1c50a9c0ba1516a69f348d159e4c6ee6f3c02a26"
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
OTHER_ADDED_TOKENS = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>"),
    *("<think>", "</think>"),
)
CONFIG = {
    "tokenizer_class": "Qwen2TokenizerFast",
    "add_bos_token": False,
    "add_prefix_space": False,
    "bos_token": None,
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "unk_token": None,
    "errors": "replace",
    "model_max_length": 131072,
    "split_special_tokens": False,
    "clean_up_tokenization_spaces": False,
}


def qwen3_tokenizer_folder(cache: Path) -> Path:
    """Return a folder with the tokenizer's files, made on the first call.

    Processes may call it at the same time: each makes the files aside and moves them into place.

    Args:
        cache: The folder that keeps the files from one run to the next.

    Raises:
        ModuleNotFoundError: The package `dashscope` is not installed.
        ValueError: Its vocabulary is not the one of Qwen3.
    """
    folder = cache / SHA256[:16]
    if not is_complete(folder):
        with tempfile.TemporaryDirectory(dir=cache) as aside:
            write_tokenizer(Path(aside))
            if not is_complete(Path(aside)):
                message = "the package dashscope has another vocabulary than Qwen3's 151,643 tokens"
                raise ValueError(message)
            folder.mkdir(exist_ok=True)
            for path in Path(aside).iterdir():
                path.replace(folder / path.name)
    return folder


def is_complete(folder: Path) -> bool:
    """Whether the folder holds exactly the tokenizer that the tests expect."""
    path = folder / "tokenizer.json"
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def write_tokenizer(folder: Path) -> None:
    """Write `tokenizer_config.json` and `tokenizer.json`, the latter last."""
    ranks = read_ranks()
    names = byte_names()
    text = {token: "".join(names[byte] for byte in token) for token in ranks}
    merges = [
        [text[left], text[right]] for left, right in (halves(t, ranks) for t in ranks if len(t) > 1)
    ]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    split = {
        "type": "Split",
        "pattern": {"Regex": PATTERN},
        "behavior": "Isolated",
        "invert": False,
    }
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(added_tokens(len(ranks))),
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text[token]: rank for token, rank in ranks.items()},
            "merges": merges,
        },
    }
    whole = json.dumps(content, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "tokenizer.json").write_text(whole, encoding="utf-8")


def read_ranks() -> dict[bytes, int]:
    """Return the tokens of the package's vocabulary with their ids, in order."""
    spec = importlib.util.find_spec("dashscope")  # the package itself is not imported
    if spec is None or spec.origin is None:
        message = "the tests need Qwen's vocabulary: pip install --no-deps dashscope"
        raise ModuleNotFoundError(message)
    lines = (Path(spec.origin).parent / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    pairs = (line.split() for line in lines)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def halves(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two parts of a token that are left when all lower merges are done."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [parts[i] + parts[i + 1] for i in range(len(parts) - 1)]
        i = min(range(len(joined)), key=lambda i: ranks.get(joined[i], len(ranks)))
        parts[i : i + 2] = [joined[i]]
    left, right = parts
    return left, right


def byte_names() -> list[str]:
    """Return the character that stands for each byte in a byte-level vocabulary, as GPT-2's has.

    Printable bytes of Latin-1 stand for themselves; the others, in order, for U+0100 onwards.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte if byte in shown else 0x100 + hidden.index(byte)) for byte in range(256)]


def added_tokens(first_id: int) -> Iterator[dict[str, Any]]:
    """Yield the entries of the added tokens, which follow the vocabulary."""
    for place, content in enumerate(CONTROL_TOKENS + OTHER_ADDED_TOKENS):
        yield {
            "id": first_id + place,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": content in CONTROL_TOKENS,
        }
