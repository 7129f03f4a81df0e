"""`Paced`: documents in packs, in the retriever's order, until a budget of seconds is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import monotonic

from shared_core.errors import RerankError
from shared_core.images.content import Content, size_of
from shared_core.scoring import Scored, ScoreRequest

FIRST = 4
"""Documents of the first pack, by which the speed is first estimated."""
# No pack costs more than so many times what all before it have: they are the estimate.
_GROWTH = 4.0
# Of the time left that a pack may take, since an estimate may be wrong.
_SHARE = 0.8
# What a prompt adds to a document, in characters.
_OVERHEAD = 200


class Paced:
    """The packs of some requests. Those of several queries share packs and budget in turns.

    The size of a pack follows from the speed so far, in characters a second. One is always scored.

    Args:
        requests: Queries with their documents, of which each distinct one is scored once.
        seconds: The budget, which begins now.

    Attributes:
        requests: The requests.
        found: The judgements so far, by request and text.
        failed: The errors of requests that failed by themselves, by their number.
    """

    def __init__(self, requests: Sequence[ScoreRequest], seconds: float) -> None:
        self.requests = requests
        self._started = self._begun = monotonic()
        self._seconds = seconds
        # Seconds of a pack. Each has some that do not depend on its size.
        self._shortest = math.inf
        self._cost = 0
        self.found: list[dict[str | Content, Scored]] = [{} for _ in requests]
        self.failed: dict[int, RerankError] = {}
        ranked = [
            (rank, number, text)
            for number, request in enumerate(requests)
            for rank, text in enumerate(dict.fromkeys(request.documents))
        ]
        self._waiting = [(number, text) for _, number, text in sorted(ranked, key=lambda x: x[:2])]
        self._pack: dict[int, list[str | Content]] = {}
        # Parts of a pack that failed, each to be tried by itself.
        self._again: list[tuple[int, list[str | Content]]] = []

    def next(self) -> list[ScoreRequest]:
        """Return the requests of the next pack, none if there is nothing left to do or no time."""
        self._pack = {}
        self._begun = monotonic()
        if self._again:
            self._pack = dict([self._again.pop()] if self._has_time() else [])
        else:
            for number, text in self._waiting[: self._size()]:
                self._pack.setdefault(number, []).append(text)
            del self._waiting[: sum(map(len, self._pack.values()))]
        requests = [(self.requests[number], texts) for number, texts in self._pack.items()]
        return [ScoreRequest(whole.query, whole.instruction, texts) for whole, texts in requests]

    def add(self, answers: Sequence[Sequence[Scored]]) -> None:
        """Take in the answers to a pack, one `Scored` per document of each request."""
        for (number, texts), answer in zip(self._pack.items(), answers, strict=True):
            self.found[number].update(zip(texts, answer, strict=True))
            self._cost += sum(map(_cost, texts))
        self._shortest = min(self._shortest, monotonic() - self._begun)

    def fail(self, error: RerankError) -> None:
        """Take in that a pack failed: its requests are tried each by itself, in the same budget.

        One that fails by itself is left out from then on.
        """
        if len(self._pack) > 1:
            self._again = list(reversed(self._pack.items()))
            return
        (number,) = self._pack
        self.failed[number] = error
        self._waiting = [(other, text) for other, text in self._waiting if other != number]

    def _has_time(self) -> bool:
        """Return whether there is time for a pack, or none was scored yet."""
        left = self._seconds - (self._begun - self._started)
        return not self._cost or left >= self._shortest

    def _size(self) -> int:
        """Return how many documents there is time for."""
        if not self._cost:
            return FIRST
        if not self._has_time():
            return 0
        spent = self._begun - self._started
        left = self._seconds - spent
        room = min(self._cost * _GROWTH, _SHARE * left * self._cost / max(spent, 1e-9))
        size = 0
        for _, text in self._waiting:
            room -= _cost(text)
            if room < 0:
                break
            size += 1
        return size


def _cost(document: str | Content) -> int:
    return _OVERHEAD + size_of(document)
