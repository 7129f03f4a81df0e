"""Parsing of replies by the dialect, with checks and uniform errors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared_core.errors import InvalidReplyError, RerankError
from shared_core.scorers.remote.dialects.base import Batch, Dialect, Parsed, Row, trait
from shared_core.scorers.remote.failures import message_in, request_id, shortened, shown
from shared_core.scorers.remote.margins import margins_of
from shared_core.scorers.remote.reply import Reply
from shared_core.scoring import Scored, ServerCount


def read_margins(reply: Reply, dialect: Dialect, batch: Batch) -> tuple[list[float], int | None]:
    """Return one margin per document, and the prompt tokens that the server counted.

    Raises:
        InvalidReplyError: The reply does not hold exactly that; it says where it is from.
    """
    _, margins, counted = _read(reply, dialect, batch)
    return margins, counted


def read_scored(reply: Reply, dialect: Dialect, batch: Batch) -> list[Scored]:
    """Return one `Scored` per document, with what the server says of tokens.

    Raises:
        InvalidReplyError: As for `read_margins`.
    """
    rows, margins, tokens = _read(reply, dialect, batch)
    is_count = tokens and trait(dialect, "counts_tokens")
    counted = ServerCount(tokens or 0, len(batch)) if is_count else None
    by_index = {row.index: row for row in rows}
    return [
        Scored(margin, by_index[index].n_tokens, by_index[index].truncated, counted=counted)
        for index, margin in enumerate(margins)
    ]


def _in_header(reply: Reply) -> int | None:
    """Return the tokens that TEI counts in a header."""
    header = reply.headers.get("x-compute-tokens", "")
    return int(header) or None if re.fullmatch("[0-9]{1,9}", header) else None


def _read(
    reply: Reply, dialect: Dialect, batch: Batch
) -> tuple[Sequence[Row], list[float], int | None]:
    decoded = reply.json()
    try:
        parsed: Parsed = dialect.parse(decoded, batch)
        scale = parsed.scale or trait(dialect, "scale")
        margins = margins_of(parsed.rows, len(batch), scale)
        return parsed.rows, margins, _in_header(reply) if parsed.tokens is None else parsed.tokens
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
