"""Connections to one server. A connection with unexpected bytes is never used again.

A server that answers one request twice leaves the second answer behind: in the socket, in the TLS
layer, or in what was read already. The next request on that connection would get it.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from typing import Any

import anyio.lowlevel
import h11
import httpcore

from shared_core.scorers.remote.proxies import Proxy

logger = logging.getLogger("qwen3_rerank")
_AT_ONCE = 2**20  # bytes to read, more than the event loop buffers: nothing is left below us
_HANDED_ON = 2**12  # bytes to parse before other tasks have their turn
_MOST_PROVISIONAL = 20  # answers with a status below 200 before the real one
_MOST_PIECES = 10_000  # of a reply, unless they have sixteen bytes each
_LONGEST_HEAD = 100 * 1024  # bytes, as in httpcore
_EXPIRY = 5.0  # seconds that an idle connection is kept

Pool = httpcore.AsyncConnectionPool | httpcore.AsyncHTTPProxy | httpcore.AsyncSOCKSProxy


def make_pool(
    tls: ssl.SSLContext | None, most: int, proxy: Proxy | None, backend: WatchedBackend
) -> Pool:
    """Return a pool of connections, through a proxy where there is one.

    Args:
        tls: For https.
        most: The most connections that are open at once.
        proxy: The proxy to connect to, if any.
        backend: Opens the connections.
    """
    options: dict[str, Any] = {
        "ssl_context": tls,
        "max_connections": most,
        "max_keepalive_connections": most,
        "keepalive_expiry": _EXPIRY,
        "network_backend": backend,
    }
    if proxy is None:
        return httpcore.AsyncConnectionPool(**options)
    if proxy.is_socks:
        return httpcore.AsyncSOCKSProxy(proxy.url, proxy_auth=proxy.credentials, **options)
    proxy_tls = tls if proxy.url.scheme == b"https" else None
    return httpcore.AsyncHTTPProxy(
        proxy.url, proxy_auth=proxy.credentials, proxy_ssl_context=proxy_tls, **options
    )


class WatchedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections that detect unexpected bytes.

    Args:
        proxy: The proxy to connect to; ``None`` for the server itself.

    Attributes:
        is_distrusted: Whether the server has sent more than was asked for; then no connection to
            it is used for a second request.
    """

    def __init__(self, proxy: Proxy | None) -> None:
        self._proxy = proxy
        self._backend = httpcore.AnyIOBackend()
        self.is_distrusted = False

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Connection:
        """Return a connection.

        Raises:
            httpcore.ProxyError: The proxy cannot be reached.
            httpcore.ConnectError, httpcore.ConnectTimeout: The server cannot be.
        """
        try:
            stream = await self._backend.connect_tcp(host, port, *args, **options)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            if self._proxy is None:
                raise
            raise httpcore.ProxyError(str(error) or "no connection in time") from error
        return Connection(stream, self)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)

    def distrust(self) -> None:
        """Stop reusing connections."""
        if not self.is_distrusted:
            logger.warning(
                "the server sent more than was asked for: no connection to it is used twice"
            )
        self.is_distrusted = True


class Connection(httpcore.AsyncNetworkStream):
    """A connection that parses its replies, to know where each of them ends.

    Args:
        stream: The connection.
        backend: The backend to notify of unexpected bytes.

    Attributes:
        n_requests: The number of requests sent.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, backend: WatchedBackend) -> None:
        self._stream = stream
        self._backend = backend
        self._ahead = b""  # read, and not handed on yet
        self._reply = h11.Connection(h11.CLIENT)
        self._has_read = True
        self._is_spoiled = self._held_surplus = False
        self._n_bytes = self._n_pieces = self._n_provisional = 0
        self.n_requests = 0

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._has_read:
            # Looked at once more: the pool looked before this request waited for its turn.
            self._is_spoiled = self.n_requests > 0 and bool(self.get_extra_info("is_readable"))
            self._begin()
        await self._stream.write(buffer, timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._is_spoiled:
            raise httpcore.ReadError("the connection was closed, or held an answer to nothing")
        self._has_read = True
        if self._ahead:
            await anyio.lowlevel.checkpoint()
        else:
            self._ahead = await self._stream.read(_AT_ONCE, timeout)
        most = min(max_bytes, _HANDED_ON)
        data, self._ahead = self._ahead[:most], self._ahead[most:]
        self._follow(data)
        return data

    def has_surplus(self) -> bool:
        """Return whether more than the expected reply has arrived."""
        if not self._held_surplus and self._reply.their_state is h11.DONE:
            left = self._ahead or self._reply.trailing_data[0] or self._has_in_tls()
            self._held_surplus = bool(left)
            if left:
                self._backend.distrust()
        return self._held_surplus

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self.has_surplus():
            return True  # which the pool takes for a reason to close it
        return self._stream.get_extra_info(info)

    async def start_tls(self, *args: Any, **options: Any) -> Connection:
        return Connection(await self._stream.start_tls(*args, **options), self._backend)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _begin(self) -> None:
        """Expect the reply to another request; replies to GET and POST end in the same way."""
        self._reply = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        self._reply.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        self._reply.send(h11.EndOfMessage())
        self._has_read = False
        self._n_bytes = self._n_pieces = self._n_provisional = 0
        self.n_requests += 1

    def _follow(self, data: bytes) -> None:
        self._n_bytes += len(data)
        # What is no HTTP ends the request: httpcore reads the same bytes by the same rules.
        with contextlib.suppress(h11.RemoteProtocolError):
            self._reply.receive_data(data)
            while (event := self._reply.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                self._n_pieces += 1
                self._n_provisional += isinstance(event, h11.InformationalResponse)
                if self._reply.their_state in (h11.CLOSED, h11.MUST_CLOSE):
                    break
        is_crumbled = self._n_pieces > max(_MOST_PIECES, self._n_bytes // 16)
        if is_crumbled or self._n_provisional > _MOST_PROVISIONAL:
            raise httpcore.RemoteProtocolError("the reply comes in too many pieces")

    def _has_in_tls(self) -> bool:
        found: ssl.SSLObject | None = self._stream.get_extra_info("ssl_object")
        if found is None:
            return False
        try:
            found.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True
        return True
