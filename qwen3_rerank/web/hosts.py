"""A check of the ``Host`` header against DNS rebinding.

A web page that somebody visits can give its own name the address of a server in their network, and
then reads what that server answers. Such a request carries the page's name in ``Host``. An address
there is harmless: nobody can make it mean another one. Load balancers and the probes of Kubernetes
use addresses.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from qwen3_rerank.web.names import checked_names, is_named, name_of
from qwen3_rerank.web.refusal import refuse


class AllowedHosts:
    """Answers 421 to requests with a host name that is not allowed.

    Addresses, ``localhost`` and names below it are always allowed, and so is a request without a
    ``Host``, which no browser sends.

    Args:
        names: The other names.
        open_paths: Paths that are answered whatever the name.
    """

    def __init__(
        self, app: ASGIApp, names: Collection[str], open_paths: Collection[str] = ()
    ) -> None:
        self._app = app
        self._names = checked_names(names)
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if all(map(self._allows, hosts)) and len(hosts) < 2:
            await self._app(scope, receive, send)
            return
        await refuse(
            scope,
            send,
            421,
            f"this server does not answer to the name {hosts[0][:100]!r}: ask for its address, or "
            "start it with --allowed-host and the name",
        )

    def _allows(self, host: str) -> bool:
        name = name_of(host)
        if name is None:
            return False
        if name == "localhost" or name.endswith(".localhost") or is_named(name, self._names):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True
