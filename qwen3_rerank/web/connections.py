"""Limits on connections: their number, and how long each may wait for its client.

Without them some hundred half-open connections take all files that a process may open, and nobody
else is answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

# A library's logger in the eyes of OncePerMinute (repeats.py): a flood is written once a minute.
logger = logging.getLogger("qwen3_rerank.connections")

BACKLOG = 128
"""Connections that the kernel keeps, and that are accepted in one go, before any is looked at."""

OTHER_FILES = 128
"""Open files that are left for everything but connections."""

_LENGTHS = {b"content-length", b"transfer-encoding"}

# A client that takes less than this of its reply within the time for it has stopped to read.
_LEAST_READ_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of a connection.

    Attributes:
        most: Connections at once.
        head_seconds: For the head of a request to arrive.
        read_seconds: For a client to take 64 KiB of its reply.
    """

    most: int
    head_seconds: float
    read_seconds: float


class BoundedConnection(H11Protocol):
    """A connection that records what it waits for, and since when.

    Args:
        on_close: Called with the reason when it is closed.
    """

    def __init__(
        self, limits: ConnectionLimits, on_close: Callable[[str], None], **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self._limits = limits
        self._on_close = on_close
        self._has_begun = True  # a new connection owes the head of a request
        self._unread: tuple[int, float] | None = None
        self.since = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a request, whose head was read, is under way."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits_since(self) -> float | None:
        """Since when its client owes a head or a body, or does not read; ``None`` if it does."""
        if not self.is_busy or self.cycle.more_body:
            return self.since
        if self._unread is not None:
            return self._unread[1]
        return time.monotonic() if self.transport.get_write_buffer_size() else None

    def connection_made(self, transport: Any) -> None:
        """Take the connection; where there are too many, close the one that waits longest."""
        super().connection_made(transport)
        self.since = time.monotonic()
        others = [connection for connection in _bounded(self.connections) if connection is not self]
        if len(others) < self._limits.most:
            return
        waiting = [
            (since, connection)
            for connection in others
            if (since := connection.waits_since) is not None
        ]
        if waiting:
            min(waiting, key=lambda pair: pair[0])[1].close("crowded out")
        else:
            self.close("refused", b"503 Service Unavailable")

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if not self.is_busy and not self._has_begun:
            self._has_begun, self.since = True, time.monotonic()
        was_busy = self.is_busy
        super().data_received(data)
        if self.is_busy and not was_busy:
            self._has_begun, self.since = False, time.monotonic()

    def handle_events(self) -> None:
        """Read on; a request that gives its length in two ways is the last one (RFC 9112, 6.1)."""
        super().handle_events()
        if self.is_busy and {name for name, _ in self.cycle.scope["headers"]} >= _LENGTHS:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Wait for the next request, or begin it if it came already."""
        self.since = time.monotonic()
        super().on_response_complete()

    def look(self, now: float) -> None:
        """Close the connection if its client takes too long to send a head or to read a reply."""
        if self._has_begun and not self.is_busy:
            if now - self.since > self._limits.head_seconds:
                self.close(
                    "slow head", b"408 Request Timeout" if self.conn.trailing_data[0] else b""
                )
            return
        size = self.transport.get_write_buffer_size()
        if size == 0:
            self._unread = None
        elif self._unread is None or not 0 <= self._unread[0] - size < _LEAST_READ_BYTES:
            self._unread = size, now
        elif now - self._unread[1] > self._limits.read_seconds:
            self.close("slow reader")

    def close(self, why: str, status: bytes = b"") -> None:
        """Close it at once, if need be with a status."""
        self._on_close(why)
        logger.warning("a connection was closed: %s", why)
        if status:
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.transport.close()
        else:
            self.transport.abort()


def _bounded(connections: Iterable[object]) -> list[BoundedConnection]:
    """Return the connections that are not closing."""
    return [
        connection
        for connection in connections
        if isinstance(connection, BoundedConnection) and not connection.transport.is_closing()
    ]


class BoundedServer(uvicorn.Server):
    """uvicorn, with an eye on its connections."""

    async def on_tick(self, counter: int) -> bool:
        """Close the connections whose clients take too long, every second; ten ticks are one."""
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in _bounded(self.server_state.connections):
                connection.look(now)
        return await super().on_tick(counter)


def bounded(limits: ConnectionLimits, on_close: Callable[[str], None]) -> dict[str, Any]:
    """Return the options of `uvicorn.Config` for connections within limits, and nothing unasked.

    Args:
        on_close: Called with the reason when a connection is closed.
    """
    return {
        "http": partial(BoundedConnection, limits, on_close),
        "backlog": BACKLOG,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        # Nothing here speaks it, and its handshake would be logged with its headers.
        "ws": "none",
        # Else uvicorn believes what everybody on this machine says; there is our own for it.
        "proxy_headers": False,
        # Longer than clients (httpx: 5 s) and load balancers (mostly 60 s) keep an idle connection:
        # the sender must be the one to close it, or a request meets one that is just being closed.
        "timeout_keep_alive": 75,
    }


def fitting(most: int) -> int:
    """Return the number of connections that fit into the files this process may open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return most
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if open_files == resource.RLIM_INFINITY else fitting_into(most, open_files)


def fitting_into(most: int, open_files: int) -> int:
    """Return the number of connections that fit into a number of open files."""
    return max(1, min(most, open_files - BACKLOG - OTHER_FILES))
