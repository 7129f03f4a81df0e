"""Checks for lone surrogates, which cannot be sent or tokenised."""

from __future__ import annotations

from collections.abc import Sequence

from shared_core.errors import TextEncodingError
from shared_core.images.content import Content, text_of
from shared_core.scoring import ScoreRequest


def check_requests(requests: Sequence[ScoreRequest]) -> None:
    """Raise if one of the texts has a lone surrogate.

    Raises:
        TextEncodingError: One has; names the document by its place, and the query if there are
            several.
    """
    for number, request in enumerate(requests):
        of_query = f" of query {number}" if len(requests) > 1 else ""
        _check(text_of(request.query), f"query {number}" if of_query else "the query")
        _check(request.instruction, f"the instruction{of_query}")
        for index, document in enumerate(request.documents):
            _check(text_of(document), f"document {index}{of_query}")


def check_pairs(pairs: Sequence[tuple[str | Content, str | Content]]) -> None:
    """Raise `TextEncodingError` if a text of a (query, document) pair has a lone surrogate."""
    for number, (query, document) in enumerate(pairs):
        _check(text_of(query), f"the query of pair {number}")
        _check(text_of(document), f"the document of pair {number}")


def check_encodable(fields: str, documents: Sequence[str]) -> None:
    """Raise if the instruction and query, or a document, has a lone surrogate.

    Raises:
        TextEncodingError: One has; names which.
    """
    _check(fields, "the instruction or the query")
    for index, document in enumerate(documents):
        _check(document, f"document {index}")


def _check(text: str, name: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextEncodingError(
            f"{name} has a lone surrogate ({text[error.start]!r} at character {error.start}), "
            "which is not Unicode text. Repair it with "
            'text.encode("utf-8", "replace").decode("utf-8").'
        ) from error
