"""Logging: one line per request and one per scoring, without the texts.

The standard logging, to standard error. ``qwen3_rerank.access`` has every HTTP request,
``qwen3_rerank.audit`` every scoring: who, how much, how long.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime, timezone
from typing import Any

from qwen3_rerank.web.repeats import OncePerMinute

access_logger = logging.getLogger("qwen3_rerank.access")
audit_logger = logging.getLogger("qwen3_rerank.audit")

# Headers as libraries write them: "Name: value", (b'name', b'value'), {'name': 'value'}.
_SECRET_HEADER = re.compile(
    r"((?:proxy-)?authorization|[a-z-]*api-key|[a-z-]*auth-token|(?:set-)?cookie)"
    r"""(['"]?\s*[:=,]\s*)(?:b?'[^']*'|b?"[^"]*"|[^\r\n]+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\bbearer\s+[^\s'\",;)]+", re.IGNORECASE)


class JsonFormatter(logging.Formatter):
    """One JSON object per line; what a caller put into the message cannot break out of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True, default=str)


class TextFormatter(logging.Formatter):
    """A line for people, with the fields as ``name='value'``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = " ".join(f"{name}={value!r}" for name, value in _fields(record).items())
        return f"{without_secrets(super().format(record))} {fields}".rstrip()


def without_secrets(text: str) -> str:
    """Return a text with the values of headers that carry secrets taken out.

    >>> without_secrets("> Authorization: Bearer 5up3r")
    '> Authorization: [not shown]'
    >>> without_secrets("[(b'x-api-key', b'5up3r'), (b'host', b'a')]")
    "[(b'x-api-key', [not shown]), (b'host', b'a')]"
    """
    return _BEARER.sub("Bearer [not shown]", _SECRET_HEADER.sub(r"\1\2[not shown]", text))


def set_up(level: str, form: str) -> None:
    """Send all logging of the process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(OncePerMinute())
    logging.captureWarnings(True)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Our own access log says the same, and says it without query strings.
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.root.level))


def log_fields(logger: logging.Logger, message: str, **fields: Any) -> None:
    """Log a message with fields; ``None`` is left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    logger.info(message, extra={"fields": present})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}
