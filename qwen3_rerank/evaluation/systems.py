"""Systems that are compared: a reranker with an instruction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared_core.cascade.scorer import CascadeScorer
from shared_core.options import Instruction
from shared_core.reranker import Reranker

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class System:
    """A reranker with one instruction.

    Attributes:
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
    """Return every reranker with every instruction; of a cascade, both of its rerankers.

    Raises:
        ValueError: There is none, one twice, or more than 26.
    """
    named = _each({name_of(rerankers): rerankers} if isinstance(rerankers, Reranker) else rerankers)
    if not named or not instructions:
        raise ValueError("nothing to evaluate: expected at least one reranker and one instruction")
    if len({str(instruction) for instruction in instructions}) < len(instructions):
        raise ValueError("an instruction is there twice: give each once")
    pairs = [
        (name, reranker, own if task is None else task)
        for name, (reranker, own) in named.items()
        for task in instructions
    ]
    if len(pairs) > len(LETTERS):
        raise ValueError(f"{len(pairs)} systems to compare: {len(LETTERS)} is the most")
    return [
        System(letter, name, reranker, task)
        for letter, (name, reranker, task) in zip(LETTERS, pairs, strict=False)
    ]


def keeps_of(rerankers: Reranker | Mapping[str, Reranker]) -> set[int]:
    """Return the numbers of documents that cascades among them keep."""
    several = [rerankers] if isinstance(rerankers, Reranker) else rerankers.values()
    scorers = [reranker.custom_scorer for reranker in several]
    return {scorer.keep for scorer in scorers if isinstance(scorer, CascadeScorer)}


def _each(
    rerankers: Mapping[str, Reranker],
) -> dict[str, tuple[Reranker, Instruction | None]]:
    """Return rerankers of one model by name, with the instruction of the cascade they are in."""
    found: dict[str, tuple[Reranker, Instruction | None]] = {}
    for name, reranker in rerankers.items():
        scorer = reranker.custom_scorer
        if not isinstance(scorer, CascadeScorer):
            found[name] = reranker, None
            continue
        if reranker.options.windows is not None:
            raise ValueError(
                'a Cascade with long_documents="windows" cannot be evaluated by its parts: give '
                "two rerankers with that option by name, and their cascade is reported"
            )
        for part, stage in (("first", scorer.first), ("second", scorer.second)):
            if all(stage is not known for known, _ in found.values()):
                own = name_of(stage)
                label = f"{own} ({name}, {part})" if own in found else own
                found[label] = stage, reranker.options.instruction
    return found


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
