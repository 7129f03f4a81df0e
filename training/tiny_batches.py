"""The prompt in token ids, and groups of prompts padded into tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from tiny_prompt import SUFFIX, instruction_head, query_tail
from tokenizers import Tokenizer


@dataclass
class Batch:
    """prefix [b, p], documents [b, n, t], lengths and teacher [b, n], the others [b]."""

    prefix: torch.Tensor
    prefix_lengths: torch.Tensor
    documents: torch.Tensor
    lengths: torch.Tensor
    answer: torch.Tensor
    teacher: torch.Tensor

    def inputs(self, device: str) -> tuple[torch.Tensor, ...]:
        parts = (self.prefix, self.prefix_lengths, self.documents, self.lengths)
        return tuple(part.to(device) for part in parts)


class Prompts:
    """The prompt in tokens, piece by piece; the pieces' ids are those of the whole string."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.suffix = tokenizer.encode(SUFFIX).ids
        self._heads: dict[str, list[int]] = {}

    def pieces(self, instruction: str, query: str) -> tuple[list[int], list[int]]:
        """(ids up to `<Query>:`, ids from there to `<Document>:`)."""
        if instruction not in self._heads:
            self._heads[instruction] = self.tokenizer.encode(instruction_head(instruction)).ids
        return self._heads[instruction], self.tokenizer.encode(query_tail(query)).ids

    def prefix(self, instruction: str, query: str) -> list[int]:
        head, tail = self.pieces(instruction, query)
        return head + tail


def collate(
    prefixes: list[list[int]],
    documents: list[list[np.ndarray]],
    suffix: list[int],
    answers: list[int],
    teacher: np.ndarray,
) -> Batch:
    """Pads on the right with 0; each document is followed by the suffix."""
    b, n = len(documents), len(documents[0])
    longest = max(len(ids) for group in documents for ids in group) + len(suffix)
    prefix = torch.zeros(b, max(map(len, prefixes)), dtype=torch.long)
    rows = np.zeros((b, n, longest), dtype=np.int64)
    lengths = np.zeros((b, n), dtype=np.int64)
    for i, group in enumerate(documents):
        prefix[i, : len(prefixes[i])] = torch.tensor(prefixes[i])
        for j, ids in enumerate(group):
            rows[i, j, : len(ids)] = ids
            rows[i, j, len(ids) : len(ids) + len(suffix)] = suffix
            lengths[i, j] = len(ids) + len(suffix)
    return Batch(
        prefix,
        torch.tensor([len(ids) for ids in prefixes]),
        torch.from_numpy(rows),
        torch.from_numpy(lengths),
        torch.tensor(answers),
        torch.from_numpy(teacher.astype(np.float32)),
    )
