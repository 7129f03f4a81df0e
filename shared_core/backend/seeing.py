"""Contents with images, for backends that may take them and those that do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from shared_core.errors import ImageError
from shared_core.images.content import Content, has_images, only_text, text_of
from shared_core.prompt.forms import NOTHING
from shared_core.results import RankedDocument, Ranking
from shared_core.scoring import Scorer, ScoreRequest, SeeingScorer


def sees(scorer: Scorer) -> bool:
    """Return whether a backend says that it takes images."""
    return isinstance(scorer, SeeingScorer) and scorer.takes_images


def nothing_for(scorer: Scorer) -> str:
    """Return what a content without a text and without images is for a backend."""
    return NOTHING if sees(scorer) else ""


def have_images(requests: Sequence[ScoreRequest]) -> bool:
    """Return whether there are images in any of the requests."""
    return any(map(has_images, (item for one in requests for item in (one.query, *one.documents))))


def refuse_images(scorer: Scorer, requests: Sequence[ScoreRequest], model: str) -> None:
    """Raise if there are images, and a backend takes texts alone.

    Args:
        scorer: The backend.
        requests: Queries with their documents.
        model: Its name for the error.

    Raises:
        ImageError: Names the document by its place, and a model that would do.
    """
    if sees(scorer):
        return
    for number, request in enumerate(requests):
        of_query = f" of query {number}" if len(requests) > 1 else ""
        only_text(request.query, f"query {number}" if of_query else "the query", model)
        for index, document in enumerate(request.documents):
            only_text(document, f"document {index}{of_query}", model)


@contextmanager
def naming(requests: Sequence[ScoreRequest]) -> Iterator[None]:
    """Name the document that a backend refuses by its place in these requests.

    The backend counts in others, without duplicates and without those whose scores are known.
    """
    try:
        yield
    except ImageError as error:
        name = None if error.content is None else _name_of(error.content, requests)
        if name is None:
            raise
        raise type(error).of(error.content, name, error.reason) from error.__cause__


def _name_of(content: object, requests: Sequence[ScoreRequest]) -> str | None:
    """Return what a query or document is called in errors about some requests."""
    for number, request in enumerate(requests):
        of_query = f" of query {number}" if len(requests) > 1 else ""
        if content in request.documents:
            return f"document {request.documents.index(content)}{of_query}"
        if content == request.query:
            return f"query {number}" if of_query else "the query"
    return None


def margins(scorer: Scorer, request: ScoreRequest) -> object:
    """Return what a backend answers that takes one query at a time, unchecked."""
    query, documents, instruction = request.query, request.documents, request.instruction
    if isinstance(scorer, SeeingScorer) and scorer.takes_images:
        return scorer.score(query, documents, instruction=instruction)
    name = type(scorer).__name__
    texts = [only_text(document, "a document", name) for document in documents]
    return scorer.score(only_text(query, "the query", name), texts, instruction=instruction)


def as_given(rankings: Sequence[Ranking], requests: Sequence[ScoreRequest]) -> list[Ranking]:
    """Return rankings with the contents as they were before their images were read."""
    return [
        ranking.with_documents(
            _given(ranked, request.documents[ranked.index]) for ranked in ranking
        )
        for ranking, request in zip(rankings, requests, strict=True)
    ]


def _given(ranked: RankedDocument, document: str | Content) -> RankedDocument:
    is_whole = has_images(document) or ranked.document in (text_of(document), NOTHING)
    return replace(ranked, document=document) if is_whole else ranked
