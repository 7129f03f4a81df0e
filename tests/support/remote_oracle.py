"""The judge inside the test servers: a real model, fed with exactly what a server was sent."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable
from pathlib import Path

import torch
from parity import reference
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer


class Oracle:
    """A checkpoint as a server has it: it reads control tokens in whatever text it is given.

    Args:
        checkpoint: A folder with a causal model and its tokenizer.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self._model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
        backend = json.loads(self._tokenizer.backend_tokenizer.to_str())
        self._literal = Tokenizer.from_str(json.dumps(backend | {"added_tokens": []}))
        self._lock = threading.Lock()
        self._known: dict[tuple[int, ...], list[float]] = {}
        self.yes_id, self.no_id = (self.ids(word)[0] for word in ("yes", "no"))

    def ids(self, text: str) -> list[int]:
        """Return a text's token ids, control tokens among them."""
        with self._lock:
            return list(self._tokenizer.encode(text, add_special_tokens=False))

    def token(self, token_id: int) -> str:
        return str(self._tokenizer.decode([token_id]))

    def log_probabilities(self, ids: list[int]) -> list[float]:
        """Return the log-probability of every token as the next one."""
        key = tuple(ids)
        with self._lock, torch.no_grad():
            if key not in self._known:
                logits = self._model(input_ids=torch.tensor([ids])).logits[0, -1].double()
                self._known[key] = torch.log_softmax(logits, dim=-1).tolist()
            return self._known[key]

    def likeliest(
        self, ids: list[int], count: int, biases: Iterable[tuple[int, float]]
    ) -> list[tuple[int, float]]:
        """Return the likeliest next tokens, after biases were added to some tokens' logits."""
        found = torch.tensor(self.log_probabilities(ids), dtype=torch.float64)
        for token_id, bias in biases:
            found[token_id] += bias
        best = torch.log_softmax(found, dim=-1).topk(count)
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def margin(self, ids: list[int]) -> float:
        """Return logit(yes) − logit(no) after these tokens."""
        found = self.log_probabilities(ids)
        return found[self.yes_id] - found[self.no_id]

    def prompt(self, instruction: str | None, query: str, document: str) -> list[int]:
        """Return the ids of the prompt that a templating server writes, as naively as they do."""
        body = reference.format_instruction(instruction, query, document)
        return self.ids(reference.PREFIX + body + reference.SUFFIX)

    def literal_prompt(self, instruction: str | None, query: str, document: str) -> list[int]:
        """Return the ids of the prompt where no text of a caller's is a control token."""
        body = reference.format_instruction(instruction, query, document)
        ids = self._literal.encode(body, add_special_tokens=False).ids
        return [*self.ids(reference.PREFIX), *ids, *self.ids(reference.SUFFIX)]


def sigmoid(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))
