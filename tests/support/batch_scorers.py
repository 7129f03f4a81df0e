"""Scorers of one's own: quick ones for what is not about scores, and ones that fail."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POISON = "POISON"


def margin(query: str, document: str) -> float:
    """A number that depends on the whole of both texts."""
    return zlib.crc32(f"{query}\0{document}".encode()) / 2**31 - 1


class Quick:
    """Scores by a checksum."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        return [margin(query, document) for document in documents]


class EachItsOwn(Quick):
    """Scores by a checksum and the process: what two machines with two models do."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        margins = super().score(query, documents, instruction=instruction)
        return [one + os.getpid() for one in margins]


class Choking(Quick):
    """Fails on a whole call if one document of it holds a word, as a forward with a NaN does."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        if any(POISON in document for document in documents):
            return [float("nan")] * len(documents)
        return super().score(query, documents, instruction=instruction)


class Broken(Quick):
    """Works for so many calls, and then never again."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().score(query, documents, instruction=instruction)


@dataclass
class Deadly(Quick):
    """Kills its process on a document with a word; if a file is named, only until that is there.

    Attributes:
        once: The file.
    """

    once: Path | None = None

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        if any(POISON in document for document in documents) and not (
            self.once is not None and self.once.exists()
        ):
            if self.once is not None:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(query, documents, instruction=instruction)
