"""Limits on connections: their number, and how long each may wait for its client.

Without them some hundred half-open connections take all files that a process may open, and nobody
else is answered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from qwen3_rerank.service.metrics import Metrics

# A library's logger in the eyes of OncePerMinute (logs.py): a flood is written once a minute.
logger = logging.getLogger("qwen3_rerank.connections")

BACKLOG = 128
"""Connections that the kernel keeps, and that are accepted in one go, before any is looked at."""

OTHER_FILES = 128
"""Open files that are left for everything but connections."""

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
        limits: Bounds.
        metrics: Counts those that are closed.
        arguments: Of uvicorn.
    """

    def __init__(self, limits: ConnectionLimits, metrics: Metrics, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits
        self._metrics = metrics
        self._has_begun = True  # a new connection owes the head of a request
        self._unread: tuple[int, float] | None = None
        self.since = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether a request, whose head was read, is under way."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def owes_body(self) -> bool:
        """Whether the rest of a body has to come."""
        return self.is_busy and self.cycle.more_body

    def connection_made(self, transport: Any) -> None:
        """Take the connection; where there are too many, close the one that waits longest."""
        super().connection_made(transport)
        self.since = time.monotonic()
        others = [connection for connection in _bounded(self.connections) if connection is not self]
        if len(others) < self._limits.most:
            return
        waiting = [connection for connection in others if not connection.is_busy]
        slow = waiting or [connection for connection in others if connection.owes_body]
        if slow:
            min(slow, key=lambda connection: connection.since).close("crowded out")
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
        self._metrics.connections_closed.labels(why).inc()
        logger.warning("a connection was closed: %s", why)
        if status:
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.transport.close()
        else:
            self.transport.abort()


def _bounded(connections: Iterable[object]) -> list[BoundedConnection]:
    """Return those that are not about to close."""
    return [
        connection
        for connection in connections
        if isinstance(connection, BoundedConnection) and not connection.transport.is_closing()
    ]


def look_at(connections: Iterable[object]) -> None:
    """Close those whose clients take too long. To be called every second."""
    now = time.monotonic()
    for connection in _bounded(connections):
        connection.look(now)


def fitting(most: int, open_files: int | None) -> int:
    """Return how many connections fit into the files that the process may open.

    Args:
        most: The most that are wanted.
        open_files: The limit; ``None`` is unknown.
    """
    if open_files is None:
        return most
    return max(1, min(most, open_files - BACKLOG - OTHER_FILES))
