"""HTTP errors: the service's exception, and its reply body in the format of each route."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import ValidationError

from shared_core.errors import (
    ClosedError,
    DeviceMemoryError,
    ImageError,
    ImageUnreachableError,
    ModelLoadError,
    QueryTooLongError,
    RemoteError,
    RerankError,
    ServerUnreachableError,
    TextEncodingError,
    UnsupportedByServerError,
)

Shape = Literal["openai", "cohere", "tei"]
"""``{"error": {"message", …}, "detail"}``; ``{"message"}``; ``{"error", "error_type"}``."""

_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
_TEI_TYPES = {401: "Unauthorized", 429: "Overloaded", 503: "Unhealthy"}
_MOST_ERRORS = 5
_OF_THE_TEXTS = frozenset([400, 413, 422])  # statuses of servers for texts that they do not take


class RefusedError(Exception):
    """A request that gets no scores.

    Attributes:
        message: What was given, what was expected and what to do, without texts of the request.
        headers: Headers of the reply, such as ``Retry-After``.
        close: Whether the connection cannot be used again, since the body was left unread.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: dict[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.close = close


def shape_of(path: str) -> Shape:
    """Return the shape of errors on a path; TEI's is known only when the body is."""
    return "cohere" if path.startswith("/v2/") else "openai"


def error_body(shape: Shape, status: int, message: str) -> dict[str, Any]:
    """Return the JSON body of an error."""
    if shape == "cohere":
        return {"message": message}
    if shape == "tei":
        kind = _TEI_TYPES.get(status, "Backend" if status >= 500 else "Validation")
        return {"error": message, "error_type": kind}
    default = "server_error" if status >= 500 else "invalid_request_error"
    error = {
        "message": message,
        "type": _TYPES.get(status, default),
        "param": None,
        "code": status,
    }
    return {"error": error, "detail": message}


def refusal_of(error: RerankError | ValueError | TypeError) -> RefusedError:
    """Return the refusal that an error of ours amounts to."""
    if isinstance(error, ImageUnreachableError):
        return RefusedError(502, str(error))
    of_the_request = (QueryTooLongError, TextEncodingError, ImageError, UnsupportedByServerError)
    if isinstance(error, of_the_request):
        return RefusedError(422, str(error))
    if not isinstance(error, RerankError):
        return RefusedError(422, str(error))
    if isinstance(error, ServerUnreachableError):
        return RefusedError(504, f"the server behind this one does not answer: {error}")
    if isinstance(error, RemoteError):
        return _refusal_behind(error)
    if isinstance(error, (ClosedError, ModelLoadError)):
        return RefusedError(503, str(error), headers={"Retry-After": "10"})
    if isinstance(error, DeviceMemoryError):
        return RefusedError(507, str(error))
    return RefusedError(500, str(error))


def _refusal_behind(error: RemoteError) -> RefusedError:
    """Return the refusal that an answer of the server behind this one amounts to.

    What it refuses of the texts is refused here; what it asks to send later is to be sent later.
    """
    if error.status in _OF_THE_TEXTS:
        return RefusedError(422, f"the server behind this one refuses this: {error}")
    if error.status in (429, 503):
        headers = {"Retry-After": str(max(1, math.ceil(error.wait or 1)))}
        message = f"the server behind this one has no time: {error}"
        return RefusedError(error.status, message, headers=headers)
    return RefusedError(502, f"the server behind this one failed: {error}")


def in_words(error: ValidationError) -> str:
    """Return the errors of a body, without repeating what was in it."""
    parts = error.errors(include_input=False, include_url=False, include_context=False)
    messages = []
    for part in parts[:_MOST_ERRORS]:
        where = ".".join(str(step) for step in part["loc"]) or "body"
        messages.append(f"{where}: {part['msg'].removeprefix('Value error, ')}")
        if "hex escape" in part["msg"]:
            messages.append("a lone surrogate such as \\ud800 is not Unicode text")
    if len(parts) > _MOST_ERRORS:
        messages.append(f"and {len(parts) - _MOST_ERRORS} more")
    return "; ".join(messages)
