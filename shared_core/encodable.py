"""Whether a text is Unicode that can be sent or tokenised at all."""

from __future__ import annotations

from collections.abc import Sequence

from shared_core.errors import TextEncodingError


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
