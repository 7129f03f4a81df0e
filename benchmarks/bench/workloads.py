"""Workloads: documents of given lengths, put together from real sentences, always the same.

The sentences are those of the demo corpus, English and Chinese. A workload is named, or written as
``QUERIESxDOCUMENTS@SHORTEST-LONGEST``, lengths in tokens of a document: ``16x8@60-150``.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench.players.base import Request
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.prompt.encoding import PairEncoder

_TEXTS = Path(__file__).parent / "texts.json"
_SPECIFICATION = re.compile(r"(\d+)x(\d+)@(\d+)-(\d+)")
_SENTENCE = {"en": re.compile(r"(?<=[.!?]) "), "zh": re.compile(r"(?<=[。！？])")}
_JOINT = {"en": " ", "zh": ""}


@dataclass(frozen=True, slots=True)
class Recipe:
    """The specification of a workload.

    Attributes:
        shortest, longest: Tokens of a document; lengths are spread evenly between them.
        query_tokens: The query is lengthened with sentences to so many; 0 leaves a question.
    """

    queries: int
    documents: int
    shortest: int
    longest: int
    language: str = "en"
    query_tokens: int = 0


RECIPES = {
    "reference": Recipe(1, 16, 50, 246),
    "rag-10": Recipe(1, 10, 60, 500),
    "rag-20": Recipe(1, 20, 60, 500),
    "rag-50": Recipe(1, 50, 60, 500),
    "rag-200": Recipe(1, 200, 60, 500),
    "many-queries": Recipe(64, 8, 60, 150),
    "one-query": Recipe(1, 512, 60, 150),
    "long": Recipe(1, 5, 6000, 6000),
    "chinese": Recipe(1, 20, 60, 500, language="zh"),
    "long-query": Recipe(1, 20, 40, 80, query_tokens=1000),
}


@dataclass(frozen=True, slots=True)
class Workload:
    """Texts with their sizes.

    Attributes:
        prompt_tokens: Tokens of all prompts, each whole.
        unique_tokens: The same with each query's common prefix counted once.
        longest_prompt: Tokens of the longest prompt.
        unique_pairs: (query, key) positions of causal attention, prefixes computed once.
    """

    name: str
    requests: Sequence[Request]
    prompt_tokens: int
    unique_tokens: int
    longest_prompt: int
    unique_pairs: int

    @property
    def documents(self) -> int:
        """Documents of all queries."""
        return sum(len(request.documents) for request in self.requests)


def recipe_of(name: str) -> Recipe:
    """Return the specification of a workload, by its name or from its text.

    Raises:
        ValueError: The text is neither.
    """
    if name in RECIPES:
        return RECIPES[name]
    match = _SPECIFICATION.fullmatch(name)
    if match is None:
        raise ValueError(
            f"there is no workload {name!r}: give one of {', '.join(RECIPES)}, or a specification "
            "such as 16x8@60-150 (queries x documents @ tokens)"
        )
    queries, documents, shortest, longest = map(int, match.groups())
    if not (queries and documents and 0 < shortest <= longest):
        raise ValueError(f"workload {name!r} has nothing to score")
    return Recipe(queries, documents, shortest, longest)


def make_workload(name: str, encoder: PairEncoder) -> Workload:
    """Return a workload, its lengths counted with a tokenizer. Equal calls give equal texts."""
    recipe = recipe_of(name)
    source = _Sentences(recipe.language, encoder)
    count = recipe.queries * recipe.documents
    step = (recipe.longest - recipe.shortest) / max(1, count - 1)
    lengths = [round(recipe.shortest + step * position) for position in range(count)]
    random.Random(count).shuffle(lengths)
    documents = [source.text(length) for length in lengths]
    queries = [source.query(number, recipe.query_tokens) for number in range(recipe.queries)]
    each = recipe.documents
    return measured(
        name,
        [Request(query, documents[i * each : (i + 1) * each]) for i, query in enumerate(queries)],
        encoder,
    )


def measured(name: str, requests: Sequence[Request], encoder: PairEncoder) -> Workload:
    """Return texts as a workload, with its sizes."""
    prompt_tokens = unique_tokens = longest = pairs = 0
    for request in requests:
        group = encoder.encode(DEFAULT_INSTRUCTION, request.query, request.documents)
        prefix = len(group.prefix_ids)
        unique_tokens += prefix
        pairs += prefix * (prefix + 1) // 2
        for document in group.documents:
            own = len(document.ids)
            prompt_tokens += document.n_tokens
            unique_tokens += own
            longest = max(longest, document.n_tokens)
            pairs += own * prefix + own * (own + 1) // 2
    return Workload(name, requests, prompt_tokens, unique_tokens, longest, pairs)


class _Sentences:
    """An endless sequence of distinct texts in one language."""

    def __init__(self, language: str, encoder: PairEncoder) -> None:
        texts: dict[str, Any] = json.loads(_TEXTS.read_text("utf-8"))[language]
        self._questions: list[str] = texts["questions"]
        self._sentences = [
            sentence
            for passage in texts["passages"]
            for sentence in _SENTENCE[language].split(passage)
            if sentence
        ]
        self._joint = _JOINT[language]
        self._encoder = encoder
        self._random = random.Random(language)
        self._waiting: list[str] = []

    def text(self, tokens: int) -> str:
        """Return the next text, with about this many tokens."""
        chosen: list[str] = []
        room = tokens
        while room > 0:
            if not self._waiting:
                self._waiting = self._random.sample(self._sentences, len(self._sentences))
            chosen.append(self._waiting.pop())
            room -= len(self._encoder.text_ids(f" {chosen[-1]}"))
        text = self._joint.join(chosen)
        if room < 0:
            text = self._cut(text, tokens)
        return text

    def query(self, number: int, tokens: int) -> str:
        """Return a question by its number, lengthened to at least this many tokens."""
        question = self._questions[number % len(self._questions)]
        if number >= len(self._questions):
            question += f" ({number // len(self._questions) + 1})"
        missing = tokens - len(self._encoder.text_ids(f" {question}"))
        return f"{self.text(missing)}{self._joint}{question}" if missing > 0 else question

    def _cut(self, text: str, tokens: int) -> str:
        """Return the longest beginning of a text with at most this many tokens."""
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if len(self._encoder.text_ids(f" {text[:middle]}")) <= tokens:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip()
