"""What is written down: one line per request, and one per scoring, without the texts.

The standard logging, to standard error. ``qwen3_rerank.access`` has every HTTP request,
``qwen3_rerank.audit`` every scoring: who, how much, how long.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

access_logger = logging.getLogger("qwen3_rerank.access")
audit_logger = logging.getLogger("qwen3_rerank.audit")


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
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


class TextFormatter(logging.Formatter):
    """A line for people, with the fields as ``name='value'``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = " ".join(f"{name}={value!r}" for name, value in _fields(record).items())
        return f"{super().format(record)} {fields}".rstrip()


def set_up(level: str, form: str) -> None:
    """Send all logging of the process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
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
