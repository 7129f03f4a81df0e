"""What a backend must do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class Scorer(Protocol):
    """A backend: one method, which any object of your own may have."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> Sequence[float]:
        """Return ``logit(yes) − logit(no)`` per document, finite Python floats in input order."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One query with the documents to judge; ``documents`` are distinct."""

    query: str
    instruction: str
    documents: Sequence[str]


@dataclass(frozen=True, slots=True)
class Scored:
    """The judgement of one document.

    Attributes:
        logit: The margin ``logit(yes) − logit(no)``.
        n_tokens: Tokens of the whole prompt as scored; ``None`` where the backend cannot tell.
        truncated: Whether the document's end was cut; ``None`` where the backend cannot tell.
        window: The characters of the document that were judged; ``None`` is all. Backends leave it
            out: they are given windows as documents.
        total_tokens: Tokens of the prompts of all its windows; ``None`` if it was judged whole.
    """

    logit: float
    n_tokens: int | None = None
    truncated: bool | None = None
    window: tuple[int, int] | None = None
    total_tokens: int | None = None


@runtime_checkable
class TokenCounter(Protocol):
    """What a backend of your own may have, too, so that windows are measured, not estimated."""

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the tokens that each text has as a document."""
        ...


@runtime_checkable
class PlacedScorer(Protocol):
    """A backend that knows where and in what it computes."""

    @property
    def placement(self) -> str:
        """Device and dtype in words, once the model is loaded."""


@runtime_checkable
class ManyScorer(Scorer, Protocol):
    """A backend that also takes several queries at once and reports what it cut."""

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order."""
        ...

    def unload(self) -> None:
        """Free the model; the next call loads it again."""
        ...


@runtime_checkable
class AsyncScorer(ManyScorer, Protocol):
    """A backend that event loops await, from any loop and thread, instead of handing it a worker.

    A cancelled call must give up its own documents and nobody else's.
    """

    async def ascore_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return what `score_many` does, without blocking the loop."""
        ...
