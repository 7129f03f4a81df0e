"""A log filter that shows equal messages once per minute."""

from __future__ import annotations

import logging
import time

_REPEAT_SECONDS = 60
_MOST_REMEMBERED = 1000


class OncePerMinute(logging.Filter):
    """Leaves out a library's warning or error that was written less than a minute ago.

    The next one after that has the field ``repeated``: how many were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        if record.levelno < logging.WARNING or record.name == "qwen3_rerank.service":
            return True
        kind = record.exc_info[0] if record.exc_info else None
        message = (record.name, record.levelno, record.getMessage()[:1000], kind)
        now = time.monotonic()
        since, repeated = self._written.get(message, (-float("inf"), 0))
        if now - since < _REPEAT_SECONDS:
            self._written[message] = since, repeated + 1
            return False
        if len(self._written) >= _MOST_REMEMBERED:
            self._written.clear()
        self._written[message] = now, 0
        if repeated:
            record.fields = {**getattr(record, "fields", {}), "repeated": repeated}
        return True
