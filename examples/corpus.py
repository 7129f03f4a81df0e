"""The demo corpus, and an embedding of it that needs no download."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data"
DIMENSIONS = 1024


class Passage(NamedTuple):
    id: str
    title: str
    text: str


class Question(NamedTuple):
    id: str
    language: str
    text: str
    relevant: str
    cross_lingual: bool


def load_passages() -> list[Passage]:
    """Return the 160 passages, English and Chinese."""
    rows = _rows("passages.jsonl")
    return [Passage(row["id"], row["title"], row["text"]) for row in rows]


def load_questions() -> list[Question]:
    """Return the questions, each with the id of the passage that answers it."""
    return [
        Question(
            row["id"],
            row["lang"],
            row["question"],
            row["relevant"][0],
            row.get("cross_lingual", False),
        )
        for row in _rows("questions.jsonl")
    ]


def embed(text: str) -> list[float]:
    """Return a unit vector of hashed words and pieces of words: crude, local, deterministic.

    It stands in for the embedding model of a real application. Words count whole and by their
    pieces of three to five letters, Chinese by characters and pairs of them.
    """
    vector = [0.0] * DIMENSIONS
    for piece, count in Counter(_pieces(text.lower())).items():
        code = zlib.crc32(piece.encode())
        sign = 1 if code >> 31 else -1
        vector[code % DIMENSIONS] += sign * (1 + math.log(count))
    norm = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / norm for value in vector]


def _pieces(text: str) -> list[str]:
    pieces = []
    for word in re.findall(r"\w+", text):
        if re.search(r"[\u3400-\u9fff]", word):
            pieces += [*word, *(word[i : i + 2] for i in range(len(word) - 1))]
        else:
            padded = f" {word} "
            pieces.append(padded)
            for size in (3, 4, 5):
                pieces += [padded[i : i + size] for i in range(len(padded) - size + 1)]
    return pieces


def _rows(name: str) -> list[dict]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
