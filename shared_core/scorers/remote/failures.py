"""Error messages of failed requests: the server's text, safe to show, and advice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from shared_core.errors import ServerStatusError

RETRIED_STATUSES = frozenset([408, 425, 429, 502, 503, 504])
"""What may succeed the next time. A 500 does not: servers answer it to input they choke on."""

_REQUEST_ID_HEADERS = (
    "x-request-id", "request-id", "x-siliconcloud-trace-id", "x-dashscope-request-id", "cf-ray",
)  # fmt: skip
_LONGEST = 500  # characters of a server's words
_DEEPEST = 8  # levels of an error body; those of real servers have three
_LONGEST_HEADER = 200  # characters that are looked at
_TOO_LONG = re.compile(
    r"too (long|large|many tokens)|\bcontext\b|length|max.{0,20}tokens|exceed", re.I
)
_IF_TOO_LONG = "Lower max_length, and give tokenizer= so that documents are cut here."
_JOINERS = "\u200c\u200d"  # which words of some scripts need, and which change no other text

_ADVICE = {
    400: "Does the server have this model, and is the dialect right? Try "
    "`qwen3-rerank check --base-url …`.",
    401: "Give api_key=, or set QWEN3_RERANK_API_KEY.",
    403: "The key is known but may not do this.",
    404: "Is base_url right, and does the server have this model and route? Try "
    "`qwen3-rerank check --base-url …`.",
    405: "Is base_url right? Try `qwen3-rerank check --base-url …`.",
    407: "Give the proxy's user name and password in its address: http://user:password@host:port.",
    408: "The server waited too long for the request: send fewer documents at once, or lower "
    "max_concurrency.",
    413: "Lower max_length, or raise the server's limit on a request.",
    422: "The server does not take this request: is the dialect right? Try "
    "`qwen3-rerank check --base-url …`.",
    424: "What the server itself asks has failed: see the server's log.",
    425: "Try again later.",
    429: "Lower max_concurrency or set requests_per_second.",
    500: "The server failed at this request: see its log. It is not repeated.",
    501: "The server was not started as a reranker; docs/servers.md has the command.",
    502: "The server behind the gateway is down or restarting: wait, or raise max_retries.",
    503: "The server is loading or overloaded: wait, or raise max_retries and total_timeout.",
    504: "The server behind the gateway is too slow: send fewer documents at once, lower "
    "max_length or max_concurrency, or raise the gateway's timeout.",
}


_REFUSED_KEY = (
    "The server refuses this key: is it one of that server's? It comes from api_key= or headers=, "
    "else from QWEN3_RERANK_API_KEY."
)


def advice(status: int, *, has_key: bool = False) -> str:
    """Return advice for an error status, or an empty string; depends on whether a key was sent."""
    return _REFUSED_KEY if has_key and status == 401 else _ADVICE.get(status, "")


def status_error(
    url: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    redact: Callable[[str], str],
    way: str = "",
    *,
    has_key: bool = False,
) -> ServerStatusError:
    """Return the error for a reply with an error status.

    Args:
        url: The URL of the request.
        status: The status.
        headers: The reply's headers, their names in lower case.
        body: The reply's body.
        redact: Removes secrets.
        way: The proxy that may have answered instead of the server, if there is one.
        has_key: Whether a key was sent.
    """
    reason = server_words(body, headers.get("content-type", ""), redact)
    if 300 <= status < 400:
        reason = f"a redirection to {shortened(headers.get('location', 'nowhere'), 200)}"
    is_loading = status == 503 and "loading" in reason.lower()
    name, wait = request_id(headers, body), retry_after(headers)
    name = redact(name) if name else None
    if status == 407:  # which none but a proxy answers
        message = f"{way or 'a proxy'} answered 407 to a request for {url}"
    else:
        message = f"{url} answered {status}" + (f": {redact(reason)}" if reason else "")
    if name:
        message += f" (request {name})"
    if wait is not None:
        message += f" [retry after {wait:g} s]"
    hint = advice(status, has_key=has_key)
    if status in (400, 422, 500) and _TOO_LONG.search(reason):
        hint = _IF_TOO_LONG
    if hint:
        message += f". {hint}"
    if way and status != 407:
        message += f" It was asked through {way}, which may be what answered."
    error = ServerStatusError(message, url=url, status=status, request_id=name)
    error.wait, error.is_loading = wait, is_loading
    return error


def server_words(body: bytes, content_type: str = "", redact: Callable[[str], str] = str) -> str:
    """Return the message in an error body, whatever its shape; at most 500 characters.

    Args:
        body: The body of the reply.
        content_type: The content type that the server states.
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
        title = _title(text)
        return "an HTML page" + (f' titled "{shortened(title)}"' if title else "")
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return shortened(text)
    return shortened(redact(message_in(decoded)) or text)


def _title(page: str) -> str:
    """Return the title of an HTML page, in one pass whatever the page holds."""
    opened = re.search("<title", page, re.IGNORECASE)
    start = page.find(">", opened.end()) + 1 if opened else 0
    closed = re.compile("</title", re.IGNORECASE).search(page, start) if start else None
    return page[start : closed.start()] if closed else ""


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
        where = ".".join(map(_scalar, location)) if isinstance(location, list) else ""
        return f"{where}: {_scalar(error['msg'])}" if where else _scalar(error["msg"])
    return message_in(error, depth)


def _scalar(value: Any) -> str:
    """Return a string or number as text; nested values, which may be too deep, as "…"."""
    return str(value) if isinstance(value, (str, int, float)) else "…"


def _is_name(code: Any) -> bool:
    return isinstance(code, str) and not code.isdigit()


def request_id(headers: Mapping[str, str], body: bytes = b"") -> str | None:
    """Return the server's id of a request, from its headers or its error body."""
    for name in _REQUEST_ID_HEADERS:
        if headers.get(name):
            return shortened(headers[name], 200)
    found = re.search(rb'"request_id"\s*:\s*"([^"]{1,200})"', body[:20_000])
    return shown(found[1].decode("utf-8", "replace")) if found else None


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a server asks to wait: ``retry-after-ms``, seconds, or a date.

    Source: RFC 9110 section 10.2.3; ``retry-after-ms`` is Azure's and OpenAI's.

    >>> retry_after({"retry-after": "1.5"}), retry_after({"retry-after": "soon"})
    (1.5, None)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")[:_LONGEST_HEADER].strip()
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
            return float(text) * unit
    try:
        then = parsedate_to_datetime(headers.get("retry-after", "")[:_LONGEST_HEADER])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - (now or datetime.now(timezone.utc))).total_seconds())


def shown(text: str) -> str:
    """Return a text with its control and bidirectional characters written out.

    A terminal, a log or a table would otherwise obey them.

    >>> print(shown("\\x1b[2Jred\\u202e na\u00efve"))
    \\x1b[2Jred\\u202e na\u00efve
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in _JOINERS
        else character.encode("unicode_escape").decode()
        for character in text
    )


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Return a text on one line, safe to show, and its beginning alone if it is long."""
    text = " ".join(text.split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return shown(text)
