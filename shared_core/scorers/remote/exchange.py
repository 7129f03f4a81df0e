"""HTTP exchanges over the connections of one event loop."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping

import anyio
import httpcore
import httpx

from shared_core.errors import ClosedError, RemoteError, ServerUnreachableError
from shared_core.scorers.remote.connections import Connection, WatchedBackend, make_pool
from shared_core.scorers.remote.failures import advice, shortened, status_error
from shared_core.scorers.remote.proxies import Proxy
from shared_core.scorers.remote.reply import Reply, longest_reply, read_body, read_headers

_KEY_HEADERS = frozenset(["authorization", "x-api-key", "api-key"])


class Exchange:
    """Sends requests and reads their replies, within bounds of time and memory.

    Args:
        headers: The headers of every request.
        connect_timeout: Seconds.
        redact: Removes secrets from a text.
        tls: For https.
        proxy: The proxy to connect to, if any.
        at_once: The most requests under way.

    Attributes:
        slots: For as many requests as may be under way.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        connect_timeout: float,
        redact: Callable[[str], str],
        *,
        tls: ssl.SSLContext | None,
        proxy: Proxy | None,
        at_once: int,
    ) -> None:
        self._headers = headers
        self._has_key = not _KEY_HEADERS.isdisjoint(headers)
        self._connect_timeout = connect_timeout
        self._redact = redact
        self._way = f"the proxy {proxy.name}" if proxy else ""
        self._by_way_of = f" through {self._way}" if proxy else ""
        self._backend = WatchedBackend(proxy)
        self._connections = make_pool(tls, at_once, proxy, self._backend)
        self._is_closed = False
        self.slots = asyncio.Semaphore(at_once)

    async def aclose(self) -> None:
        """Close all connections."""
        self._is_closed = True
        await self._connections.aclose()

    async def send(self, method: str, url: str, content: bytes | None, timeout: float) -> Reply:
        """Return the answer to a request.

        Raises:
            ServerUnreachableError: No connection, or no complete answer in time; of the proxy, too.
            ServerStatusError: An error status.
            InvalidReplyError: More than any ranking has.
            ClosedError: The connections were closed meanwhile.
        """
        try:
            with anyio.fail_after(timeout):
                return await self._exchange(method, url, content, timeout)
        except (TimeoutError, httpcore.TimeoutException) as error:
            where = "a connection" if isinstance(error, httpcore.ConnectTimeout) else "an answer"
            raise ServerUnreachableError(
                f"{url} gave no complete answer in {timeout:g} s{self._by_way_of} ({where} was "
                "waited for): raise timeout or connect_timeout, or is the server overloaded?",
                url=url,
            ) from None
        except httpcore.ProxyError as error:
            raise self._proxy_error(url, str(error)) from None
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
        ) as error:
            reason = shortened(self._redact(str(error) or type(error).__name__))
            raise ServerUnreachableError(
                f"no answer from {url}{self._by_way_of}: {reason}. Is the server running, and "
                "base_url right?",
                url=url,
            ) from None
        except RuntimeError as error:  # httpcore, of a pool that was closed under way
            if not self._is_closed:
                raise
            raise ClosedError("the reranker was closed while it was working") from error

    async def _exchange(
        self, method: str, url: str, content: bytes | None, timeout: float
    ) -> Reply:
        address = httpx.URL(url)
        host = address.raw_host
        if self._way and address.scheme == "http" and b":" in host:
            host = b"[%b]" % host  # httpcore asks a proxy for an address made of it
        headers: list[tuple[bytes | str, bytes | str]] = [*self._headers.items()]
        headers.append(("host", address.netloc))
        if content is not None:
            headers.append(("content-type", "application/json"))
        if self._backend.is_distrusted:
            headers.append(("connection", "close"))
        waits = dict.fromkeys(("read", "write", "pool"), timeout)
        async with self._connections.stream(
            method,
            httpcore.URL(
                scheme=address.raw_scheme,
                host=host,
                port=address.port,
                target=address.raw_path,
            ),
            headers=headers,
            content=content,
            extensions={"timeout": {**waits, "connect": self._connect_timeout}},
        ) as response:
            head = read_headers(response)
            body = await read_body(url, response, head, longest_reply(len(content or b"")))
            connection = response.extensions["network_stream"]
        is_reused = isinstance(connection, Connection) and connection.n_requests > 1
        if is_reused and connection.has_surplus():
            raise httpcore.RemoteProtocolError(
                "the server sent more answers than it was asked for, and this may be another one's"
            )
        if 200 <= response.status < 300:
            return Reply(url, head, body, self._redact, self._by_way_of)
        raise status_error(
            url, response.status, head, body, self._redact, self._way, has_key=self._has_key
        )

    def _proxy_error(self, url: str, problem: str) -> RemoteError:
        """Return the error for a proxy that cannot be reached or refuses to connect."""
        status = re.match("[1-5][0-9][0-9]", problem)
        if status is not None:
            error = status_error(url, int(status[0]), {}, b"", self._redact, self._way)
            reason = shortened(self._redact(problem))
            hint = advice(int(status[0]))
            error.args = (f"{self._way} answered {reason} to a request for {url}. {hint}".strip(),)
            return error
        return ServerUnreachableError(
            f"no answer from {self._way}, which leads to {url}: {shortened(problem)}. Is the proxy "
            "running? To go without it, name the server in NO_PROXY",
            url=url,
        )
