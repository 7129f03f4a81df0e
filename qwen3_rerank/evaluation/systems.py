"""Systems that are compared: a reranker with an instruction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared_core.options import Instruction
from shared_core.reranker import Reranker

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class System:
    """A reranker with one instruction.

    Attributes:
        letter: The letter in plots.
        name: The name of the reranker in tables.
        reranker: The reranker itself.
        instruction: The instruction; ``None`` is the one that the reranker was made with.
    """

    letter: str
    name: str
    reranker: Reranker = field(repr=False)
    instruction: Instruction | None = None


def systems_of(
    rerankers: Reranker | Mapping[str, Reranker],
    instructions: Sequence[Instruction | None],
) -> list[System]:
    """Return every reranker with every instruction.

    Raises:
        ValueError: There is none, one twice, or more than 26.
    """
    named = {name_of(rerankers): rerankers} if isinstance(rerankers, Reranker) else dict(rerankers)
    if not named or not instructions:
        raise ValueError("nothing to evaluate: expected at least one reranker and one instruction")
    if len({str(instruction) for instruction in instructions}) < len(instructions):
        raise ValueError("an instruction is there twice: give each once")
    pairs = [(name, reranker, task) for name, reranker in named.items() for task in instructions]
    if len(pairs) > len(LETTERS):
        raise ValueError(f"{len(pairs)} systems to compare: {len(LETTERS)} is the most")
    return [
        System(letter, name, reranker, task)
        for letter, (name, reranker, task) in zip(LETTERS, pairs, strict=False)
    ]


def name_of(reranker: Reranker) -> str:
    """Return the model, and the server where one scores."""
    options = reranker.options
    scorer = reranker.custom_scorer
    if scorer is not None:
        return type(scorer).__name__
    where = options.base_url or (options.dialect if isinstance(options.dialect, str) else None)
    return f"{options.model} at {where}" if options.is_remote and where else options.model


def key_of(identity: Mapping[str, Any], instruction: str, query: str, texts: Sequence[str]) -> str:
    """Return a hash of all that the scores of one query depend on."""
    whole = json.dumps([identity, instruction, query, list(texts)], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()
