"""The limits of one request: how many texts it may have, and how long they may be."""

from __future__ import annotations

from collections.abc import Sequence

from qwen3_rerank.service.failures import RefusedError
from qwen3_rerank.service.settings import ServiceSettings
from shared_core.images.content import text_of
from shared_core.scoring import ScoreRequest


def check_limits(requests: Sequence[ScoreRequest], limits: ServiceSettings) -> None:
    """Raise `RefusedError` if the queries of a request have more or longer texts than it may."""
    n_documents = sum(len(request.documents) for request in requests)
    if n_documents > limits.max_documents or len(requests) > limits.max_documents:
        raise RefusedError(
            422,
            f"{max(n_documents, len(requests))} documents: this service takes "
            f"{limits.max_documents} in a request",
        )
    n_characters = 0
    for request in requests:
        for name, text in (("query", text_of(request.query)), ("instruction", request.instruction)):
            n_characters += len(text)
            if len(text) > limits.max_query_characters:
                raise RefusedError(
                    422,
                    f"the {name} has {len(text)} characters: this service takes "
                    f"{limits.max_query_characters}",
                )
        n_characters += sum(len(text_of(document)) for document in request.documents)
    if n_characters > limits.max_characters:
        raise RefusedError(
            422,
            f"the texts have {n_characters} characters: this service takes "
            f"{limits.max_characters} in a request",
        )
