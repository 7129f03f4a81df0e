"""What went wrong with a request, in words: the server's own, and what to try."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

RETRIED_STATUSES = frozenset([408, 425, 429, 502, 503, 504])
"""What may succeed the next time. A 500 does not: servers answer it to input they choke on."""

_REQUEST_ID_HEADERS = (
    "x-request-id", "request-id", "x-siliconcloud-trace-id", "x-dashscope-request-id", "cf-ray",
)  # fmt: skip
_LONGEST = 500  # characters of a server's words
_DEEPEST = 8  # levels of an error body; those of real servers have three

_ADVICE = {
    400: "If it says that the prompt is too long, lower max_length and give tokenizer= so that "
    "documents are cut here.",
    401: "Give api_key=, or set QWEN3_RERANK_API_KEY.",
    403: "The key is known but may not do this.",
    404: "Is base_url right, and does the server have this model and route? Try "
    "`qwen3-rerank check --base-url …`.",
    405: "Is base_url right? Try `qwen3-rerank check --base-url …`.",
    413: "Lower max_length, or raise the server's limit on a request.",
    422: "The server does not take this request: is the dialect right? Try "
    "`qwen3-rerank check --base-url …`.",
    429: "Lower max_concurrency or set requests_per_second.",
    501: "The server was not started as a reranker; docs/servers.md has the command.",
    503: "The server is loading or overloaded: wait, or raise max_retries and total_timeout.",
}


def advice(status: int) -> str:
    """Return what to try after an error status; empty if there is nothing to say."""
    return _ADVICE.get(status, "")


def server_words(body: bytes, content_type: str = "", redact: Callable[[str], str] = str) -> str:
    """Return the message in an error body, whatever its shape; at most 500 characters.

    Args:
        body: As it came.
        content_type: What the server says that it is.
        redact: Removes secrets; it is called before anything is shortened.

    >>> server_words(b'{"error": {"message": "too long", "code": 400}}')
    'too long'
    >>> server_words(b'{"error": "Unauthorized"}'), server_words(b'[{"x": 1}]')
    ('Unauthorized', '[{"x": 1}]')
    """
    text = redact(body[:20_000].decode("utf-8", "replace")).strip()
    if len(body) > 20_000:
        text += "…"
    if "html" in content_type.lower() or text[:15].lower().startswith(("<!doctype", "<html")):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        return "an HTML page" + (f' titled "{shortened(title[1])}"' if title else "")
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return shortened(text)
    return shortened(redact(message_in(decoded)) or text)


def message_in(decoded: Any, depth: int = _DEEPEST) -> str:
    """Return the message in a decoded error body, empty if there is none.

    Shapes: ``error.message``, ``error`` as a string, ``message``, ``detail`` as a string, a list of
    pydantic errors or ``{"error"}``, ``code`` with ``message``, a bare string.
    """
    if isinstance(decoded, str):
        return decoded
    if depth == 0:
        return ""
    if isinstance(decoded, list):
        return "; ".join(filter(None, (_validation_message(x, depth - 1) for x in decoded[:5])))
    if not isinstance(decoded, Mapping):
        return ""
    for name in ("error", "message", "detail", "msg", "errors"):
        if decoded.get(name):
            found = message_in(decoded[name], depth - 1)
            code = decoded.get("code")
            return f"{code}: {found}" if found and name == "message" and _is_name(code) else found
    return ""


def _validation_message(error: Any, depth: int) -> str:
    if isinstance(error, Mapping) and "msg" in error:
        location = error.get("loc")
        where = ".".join(map(str, location)) if isinstance(location, list) else ""
        return f"{where}: {error['msg']}" if where else str(error["msg"])
    return message_in(error, depth)


def _is_name(code: Any) -> bool:
    return isinstance(code, str) and not code.isdigit()


def request_id(headers: Mapping[str, str], body: bytes = b"") -> str | None:
    """Return the server's name for a request, from its headers or its error body."""
    for name in _REQUEST_ID_HEADERS:
        if headers.get(name):
            return shortened(headers[name], 200)
    found = re.search(rb'"request_id"\s*:\s*"([^"]{1,200})"', body[:20_000])
    return found[1].decode("utf-8", "replace") if found else None


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a server asks to wait: ``retry-after-ms``, seconds, or a date.

    Source: RFC 9110 section 10.2.3; ``retry-after-ms`` is Azure's and OpenAI's.

    >>> retry_after({"retry-after": "1.5"}), retry_after({"retry-after": "soon"})
    (1.5, None)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
            return float(text) * unit
    try:
        then = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - (now or datetime.now(timezone.utc))).total_seconds())


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return a text on one line, and its beginning alone if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
