"""The passages of one language in tokens, with the indexes that sampling needs."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from tiny_texts import Passage
from tokenizers import Tokenizer

SENTENCE = re.compile(r"[^.!?।。！？]+(?:[.!?।]+(?=\s|$)|[。！？]|[.!?।](?=\S)|$)")


@dataclass
class Encoded:
    """A passage in tokens: ids [t], first character of each token [t], sentence character spans."""

    passage: Passage
    ids: np.ndarray
    starts: np.ndarray
    sentences: list[tuple[int, int]]


class Language:
    """The passages of one language with the indexes that sampling needs."""

    def __init__(self, name: str, passages: list[Passage], tokenizer: Tokenizer) -> None:
        self.name = name
        self.items: list[Encoded] = []
        self.families: dict[str, list[int]] = defaultdict(list)
        self.holders: dict[int, list[int]] = defaultdict(list)
        self.words: Counter[str] = Counter()
        for passage in passages:
            # the space is not part of the offsets: token i starts at character starts[i]
            encoding = tokenizer.encode(" " + passage.text)
            starts = np.maximum(np.array([a for a, _ in encoding.offsets]) - 1, 0)
            spans = [m.span() for m in SENTENCE.finditer(passage.text)]
            if name == "th":
                spans = [m.span() for m in re.finditer(r"\S+", passage.text)]
            spans = [(a, b) for a, b in spans if b - a >= 12] or [(0, len(passage.text))]
            index = len(self.items)
            self.items.append(Encoded(passage, np.array(encoding.ids), starts, spans))
            self.families[passage.family].append(index)
            for token in set(encoding.ids):
                self.holders[token].append(index)
            self.words.update(set(self.split(passage.text.lower())))
        self.vocabulary = sorted(self.words)
        self.asked = [i for i, item in enumerate(self.items) if item.passage.questions]
        count = len(self.items)
        self.idf = np.full(tokenizer.get_vocab_size(), math.log(1 + 2 * count))
        for token, held in self.holders.items():
            self.idf[token] = math.log(1 + (count - len(held) + 0.5) / (len(held) + 0.5))

    def split(self, text: str) -> list[str]:
        return re.findall(r"[\w'-]+", text)

    def window(
        self, item: Encoded, length: int, rng: np.random.Generator, around: int | None = None
    ) -> tuple[int, int]:
        """Token bounds of a window of at most `length` tokens, holding token `around` if given."""
        total = len(item.ids)
        if total <= length:
            return 0, total
        low, high = 0, total - length
        if around is not None:
            low, high = max(0, around - length + 1 + length // 8), min(high, around)
            low = min(low, high)
        begin = int(rng.integers(low, high + 1))
        openings = np.searchsorted(item.starts, [a for a, _ in item.sentences])
        fitting = openings[(openings >= low) & (openings <= high)]
        if len(fitting) and rng.random() < 0.7:
            begin = int(rng.choice(fitting))
        return begin, begin + length
