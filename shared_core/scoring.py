"""Protocols of backends: the one method that every backend has, and others that it may have.

Each protocol but `Scorer` names one ability. An object that has the method is used for it, whatever
its class, so that a backend of your own imports nothing of this package and inherits nothing. A
base class with defaults would hide what a backend cannot do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from shared_core.images.content import Content, only_text

Pair = tuple[str | Content, str | Content]
"""A query with one document."""


@runtime_checkable
class Scorer(Protocol):
    """A backend: one method, which any object of your own may have."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> Sequence[float]:
        """Return ``logit(yes) − logit(no)`` per document, finite Python floats in input order."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One query with the documents to judge. Backends are given distinct documents.

    Those that do not see (`SeeingScorer`) are given texts alone. Of a `Content`, the others are
    given the images read and checked, as `Content.pictures`.
    """

    query: str | Content
    instruction: str
    documents: Sequence[str | Content]


@dataclass(frozen=True, slots=True)
class TextRequest(ScoreRequest):
    """A request of texts alone."""

    query: str
    documents: Sequence[str]


def text_request(request: ScoreRequest, model: str) -> TextRequest:
    """Return a request for a model that reads text alone.

    Raises:
        ImageError: There are images.
    """
    documents = [
        only_text(document, f"document {index}", model)
        for index, document in enumerate(request.documents)
    ]
    query = only_text(request.query, "the query", model)
    return TextRequest(query, request.instruction, documents)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Data of the retriever about a query's documents, besides their texts.

    Attributes:
        scores: The retriever's scores, larger is better, ``None`` for a missing one; or no scores.
        embeddings: Vectors of length 1, of shape (documents, dimensions); ``None`` has none.
    """

    scores: Sequence[float | None] | None = None
    embeddings: Sequence[Sequence[float]] | None = None


@dataclass(frozen=True, slots=True)
class RankRequest(ScoreRequest):
    """One query with the documents to rank."""

    retrieved: Retrieved = field(default_factory=Retrieved)


@dataclass(frozen=True, slots=True)
class ServerCount:
    """A server's count of the prompt tokens of one request to it, over all its documents."""

    tokens: int
    n_documents: int


@dataclass(frozen=True, slots=True)
class Scored:
    """A backend's judgement of one document.

    Attributes:
        logit: The margin ``logit(yes) − logit(no)``.
        n_tokens: Tokens of the whole prompt as scored; ``None`` where the backend cannot tell.
        truncated: Whether the document's end was cut; ``None`` where the backend cannot tell.
        window: The characters of the document that were judged; ``None`` is all. Backends leave it
            out: they are given windows as documents.
        total_tokens: Tokens of the prompts of all its windows; ``None`` if it was judged whole.
        counted: The server's count for all documents of the request that this one was sent in, the
            same object for each; ``None`` without a server, or where it does not count.
        stage: Which model of a `Cascade` judged it, 1 or 2; ``None`` without one. Margins of two
            stages are not comparable: the documents of a later stage come first.
    """

    logit: float
    n_tokens: int | None = None
    truncated: bool | None = None
    window: tuple[int, int] | None = None
    total_tokens: int | None = None
    counted: ServerCount | None = None
    stage: int | None = None


class TokenMeter(Protocol):
    """Counts tokens, to measure long documents."""

    def check(self, instruction: str, query: str, documents: Sequence[str]) -> None:
        """Raise if one of the texts cannot be tokenised."""
        ...

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the tokens that each text has as a document."""
        ...

    def room(self, instruction: str, query: str) -> int:
        """Return the number of document tokens that fit into a prompt."""
        ...


@runtime_checkable
class SeeingScorer(Protocol):
    """A backend that may take images: contents beside texts, in any of its methods."""

    @property
    def takes_images(self) -> bool:
        """Whether it does. A server that may or may not says yes, and refuses them itself."""

    def score(
        self,
        query: str | Content,
        documents: Sequence[str | Content],
        *,
        instruction: str,
    ) -> Sequence[float]:
        """Return what `Scorer.score` returns."""
        ...


@runtime_checkable
class ManyScorer(Scorer, Protocol):
    """A backend that takes several queries at once and reports what it cut."""

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order."""
        ...


@runtime_checkable
class AsyncScorer(ManyScorer, Protocol):
    """A backend that event loops await, from any loop and thread, instead of handing it a worker.

    A cancelled call must give up its own documents and nobody else's.
    """

    async def ascore_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return what `score_many` returns, without blocking the loop."""
        ...


@runtime_checkable
class LoadingScorer(Protocol):
    """A backend that can get ready before the first call: read the model, or ask the server."""

    def load(self) -> object:
        """Return when it is ready, at once if it is."""
        ...


@runtime_checkable
class AsyncLoadingScorer(LoadingScorer, Protocol):
    """A backend whose `load` event loops await."""

    async def aload(self) -> object:
        """Do what `load` does, without blocking the loop."""
        ...


@runtime_checkable
class LoadedScorer(Protocol):
    """A backend that knows whether its model is in memory."""

    @property
    def is_loaded(self) -> bool:
        """Whether a model is in this process's memory."""


@runtime_checkable
class UnloadingScorer(Protocol):
    """A backend that can free its model."""

    def unload(self) -> None:
        """Free the model; the next call loads it again."""
        ...


@runtime_checkable
class ClosingScorer(Protocol):
    """A backend with something to end for good. One of your own is yours to close."""

    def close(self) -> None:
        """Free everything. Calls in progress may fail with `ClosedError`."""
        ...


@runtime_checkable
class TokenCounter(Protocol):
    """A backend that counts tokens, so that windows are measured, not estimated."""

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        """Return the tokens that each text has as a document."""
        ...


@runtime_checkable
class MeteringScorer(Protocol):
    """A backend that also knows the room for a document, and the texts that it refuses."""

    def token_meter(self) -> TokenMeter:
        """Return the token meter. May block to load; not for event loops."""
        ...


@runtime_checkable
class PlacedScorer(Protocol):
    """A backend that knows where and in what it computes."""

    @property
    def placement(self) -> str:
        """Device and dtype in words, once the model is loaded."""
