"""A real HTTP server in a thread, with a switch for everything that can go wrong on the wire.

It knows no wire format: what it serves is a `Kind` (see the ``served_*`` modules), which answers a
`Seen` request with an `Answer`. It keeps every request, so that a test can look at what was sent.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Protocol

from typing_extensions import Self


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; header names in lower case, the body decoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Answer:
    """What to send back; a body that is not bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def but(self, **changes: Any) -> Answer:
        return replace(self, **changes)


class Kind(Protocol):
    """A kind of server."""

    def answer(self, seen: Seen) -> Answer: ...


Mishap = Answer | bytes | Literal["drop", "drop-in-body", "stall", "stall-in-body", "drip"]
"""An answer to send instead; bytes to write to the socket as they are; or what else to do."""

Fault = Callable[[Seen, Answer], Mishap]


class RerankServer:
    """Serves a kind from entering to leaving the context.

    Attributes:
        url: Its address.
        seen: All requests, in the order of their arrival.
        fault: Turns the right answer to a POST into something else; ``None`` sends it.
        most_connections: The largest number of connections that were open at once.
        hung_up: Set when a client closes the connection on which an answer was stalled.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.seen: list[Seen] = []
        self.fault: Fault | None = None
        self.most_connections = self.open_connections = 0
        self.hung_up = threading.Event()
        self.stalled = threading.Event()
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    @property
    def bodies(self) -> list[Any]:
        return [seen.body for seen in self.posts]

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()

    def respond(self, seen: Seen) -> Mishap:
        with self._lock:
            self.seen.append(seen)
        answer = self.kind.answer(seen)
        return answer if self.fault is None or seen.method == "GET" else self.fault(seen, answer)

    def count(self, change: int) -> None:
        with self._lock:
            self.open_connections += change
            self.most_connections = max(self.most_connections, self.open_connections)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that a client closed."""


def _handler(server: RerankServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            server.count(1)

        def finish(self) -> None:
            server.count(-1)
            super().finish()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
            """Print nothing."""

        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def _do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(raw) if raw else None
            mishap = server.respond(Seen(self.command, self.path, headers, body))
            if isinstance(mishap, Answer):
                self.wfile.write(self._head(mishap, len(mishap.content)) + mishap.content)
                return
            self.close_connection = True
            if isinstance(mishap, bytes):
                self.wfile.write(mishap)
            elif mishap == "drip":
                self._drip()
            elif mishap.endswith("in-body"):
                content = b'{"results": [{"index": 0, '
                self.wfile.write(self._head(Answer(), len(content) + 1000) + content)
            if mishap in ("stall", "stall-in-body"):
                self._wait_for_hang_up()
            with contextlib.suppress(OSError):  # the client was faster
                self.connection.shutdown(socket.SHUT_RDWR)

        def _drip(self) -> None:
            """Send a body that never ends, one space at a time."""
            self.wfile.write(self._head(Answer(), 10**6))
            try:
                while not server.released.wait(0.02):
                    self.wfile.write(b" ")
            except OSError:
                server.hung_up.set()

        def _head(self, answer: Answer, length: int) -> bytes:
            headers = {
                "content-type": "application/json",
                "content-length": str(length),
                **{name.lower(): value for name, value in answer.headers.items()},
            }
            lines = [f"{name}: {value}" for name, value in headers.items()]
            status = f"HTTP/1.1 {answer.status} Said"
            return "\r\n".join([status, *lines, "", ""]).encode("latin-1")

        def _wait_for_hang_up(self) -> None:
            server.stalled.set()
            while not server.released.is_set():
                if select.select([self.connection], [], [], 0.02)[0]:
                    server.hung_up.set()  # nothing else makes it readable: there is no next request
                    return

    return Handler
