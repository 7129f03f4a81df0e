"""Refusal of requests that a browser sends for another web page.

Browsers say where a request comes from, by ``Sec-Fetch-Site`` or ``Origin``, and no page can change
that. Programs say neither.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from qwen3_rerank.web.names import checked_names, is_named, name_of
from qwen3_rerank.web.refusal import refuse


class SameOrigin:
    """Answers 403 to requests of web pages from other origins.

    Let through are links that somebody follows, allowed origins, and requests with a key that was
    put there on purpose: a browser's saved password is sent by itself, so it is no such key.

    Args:
        origins: Allowed ones, such as ``https://example.com``; ``*`` is all.
        names: The names of the server, for pages behind a proxy that changes ``Host``.
    """

    def __init__(
        self, app: ASGIApp, origins: Collection[str] = (), names: Collection[str] = ()
    ) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._names = checked_names(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not self._is_foreign(scope):
            await self._app(scope, receive, send)
            return
        await refuse(
            scope,
            send,
            403,
            "the request comes from a web page of another origin: start this server with "
            "--cors-origin and that origin, or send a key",
        )

    def _is_foreign(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is None and site is None:
            return False
        if _has_key(scope, headers):
            return False
        if origin is not None and (origin in self._origins or "*" in self._origins):
            return False
        if site is not None:
            return site not in ("same-origin", "none") and not _is_link(scope, headers)
        return not self._is_own(origin or "", headers.get("host", ""))

    def _is_own(self, origin: str, host: str) -> bool:
        """Return whether an origin is the server's: the scheme is known to the proxy alone."""
        scheme, separator, authority = origin.lower().partition("://")
        if not separator or scheme not in ("http", "https"):
            return False
        default = ":443" if scheme == "https" else ":80"
        if authority.removesuffix(default) == host.lower().removesuffix(default):
            return True
        name = name_of(authority)
        return name is not None and is_named(
            name, [allowed for allowed in self._names if allowed != "*"]
        )


def _has_key(scope: Scope, headers: Headers) -> bool:
    is_saved = headers.get("authorization", "").lower().startswith("basic")
    return scope.get("state", {}).get("key") is not None and not is_saved


def _is_link(scope: Scope, headers: Headers) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and "origin" not in headers
    )
