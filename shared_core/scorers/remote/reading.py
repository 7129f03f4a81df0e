"""Parsing of replies by the dialect, with checks and uniform errors."""

from __future__ import annotations

from shared_core.errors import InvalidReplyError, RerankError
from shared_core.scorers.remote.dialects.base import Batch, Dialect, Parsed, trait
from shared_core.scorers.remote.failures import message_in, request_id, shortened, shown
from shared_core.scorers.remote.margins import margins_of
from shared_core.scorers.remote.reply import Reply


def read_margins(reply: Reply, dialect: Dialect, batch: Batch) -> tuple[list[float], int | None]:
    """Return one margin per document, and the prompt tokens that the server counted.

    Raises:
        InvalidReplyError: The reply does not hold exactly that; it says where it is from.
    """
    decoded = reply.json()
    try:
        parsed: Parsed = dialect.parse(decoded, batch)
        scale = parsed.scale or trait(dialect, "scale")
        margins = margins_of(parsed.rows, len(batch), scale)
        return margins, parsed.tokens
    except RerankError as error:
        problem, cause = str(error), error.__cause__
    except Exception as error:  # noqa: BLE001  # whatever a user's own dialect may raise
        problem, cause = f"the dialect cannot read the reply: {error!r}", error
    message = message_in(decoded) if isinstance(decoded, dict) else ""
    addition = f" The server says: {shortened(reply.redact(message), 300)}" if message else ""
    name = request_id(reply.headers)
    if cause is not None and reply.redact(str(cause)) != str(cause):
        cause = None  # it would be printed with the traceback
    raise InvalidReplyError(
        shown(reply.redact(f"{reply.url}: {problem}.{addition}")),
        url=reply.url,
        status=200,
        request_id=reply.redact(name) if name else None,
    ) from cause
