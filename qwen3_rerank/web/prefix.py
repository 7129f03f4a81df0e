"""The path prefix under which a proxy publishes the server, such as ``/rerank-app``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from qwen3_rerank.web.names import checked_prefix


class Prefixed:
    """Strips the prefix from paths, and stores it in ``state["prefix"]``.

    Most proxies take the prefix off; one that leaves it there is understood, too, unless the server
    has routes of the same beginning.

    Args:
        prefix: The prefix; "" is none.
        proxies: Addresses and networks of proxies whose ``X-Forwarded-Prefix`` is believed; ``*``
            is everybody.
        paths: The server's own paths.
    """

    def __init__(
        self,
        app: ASGIApp,
        prefix: str,
        proxies: Sequence[str] = (),
        paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._prefix = checked_prefix(prefix)
        self._believes_all = "*" in proxies
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(proxy) for proxy in proxies if proxy != "*"
        ]
        self._is_own = any(f"{path}/".startswith(f"{self._prefix}/") for path in paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["prefix"] = self._said(scope) or self._prefix
        path = scope["path"]
        if self._prefix and not self._is_own and f"{path}/".startswith(f"{self._prefix}/"):
            path = path[len(self._prefix) :] or "/"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def _said(self, scope: Scope) -> str:
        """Return the prefix that a proxy says, if it is one that is believed."""
        prefix = Headers(scope=scope).get("x-forwarded-prefix", "")
        if not prefix or not self._believes(scope):
            return ""
        try:
            return checked_prefix(prefix)
        except ValueError:
            return ""

    def _believes(self, scope: Scope) -> bool:
        if self._believes_all:
            return True
        try:
            address = ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)
