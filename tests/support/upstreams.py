"""An upstream that writes bytes as it likes, and the client of it that is attacked."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import Self

from shared_core import Reranker

Talk = Callable[["Request"], None]


@dataclass
class Request:
    """A request as it arrived.

    Attributes:
        number: How many came before it on its connection.
        method: GET or POST.
        headers: Names in lower case.
        body: Decoded; ``None`` without one.
    """

    wire: socket.socket
    number: int
    method: str
    target: str
    headers: dict[str, str]
    body: Any = None

    def send(self, *parts: bytes) -> None:
        self.wire.sendall(b"".join(parts))


def ranking(body: Any) -> bytes:
    """The right reply: the score of every document is the number that it ends with."""
    rows = [
        {"index": index, "relevance_score": float(text.split()[-1])}
        for index, text in enumerate(body["documents"])
    ]
    return json.dumps({"results": rows}).encode()


def reply(content: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole reply with a length."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(content)}", "", ""]).encode() + content


def chunked(content: bytes, size: int = 40) -> bytes:
    """A whole reply in chunks."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""]]
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(framed)


@dataclass
class Upstream:
    """Listens from entering to leaving the context.

    Args:
        talk: Answers a POST; what else is asked is not found.
        tls: For https.

    Attributes:
        seen: All requests.
        n_connections: How many were opened.
        pages: What every GET is answered with; not found by default.
        gone: Set when it ends; whoever waits in a ``talk`` waits for that.
    """

    talk: Talk
    tls: ssl.SSLContext | None = None
    seen: list[Request] = field(default_factory=list)
    n_connections: int = 0
    gone: threading.Event = field(default_factory=threading.Event)
    pages: bytes | None = None

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gone.set()
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while not self.gone.is_set():
                wire, _ = self._socket.accept()
                self.n_connections += 1
                threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            wire.settimeout(30)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                wire = self.tls.wrap_socket(wire, server_side=True)
            stack.callback(wire.close)
            lines = wire.makefile("rb")
            number = 0
            while not self.gone.is_set():
                request = _read(wire, lines, number)
                self.seen.append(request)
                if request.method != "POST" and self.pages is not None:
                    request.send(reply(self.pages))
                elif request.method != "POST":
                    request.send(reply(b"{}", status="404 Not Found"))
                else:
                    self.talk(request)
                number += 1
                if request.headers.get("connection") == "close":
                    return

    def client(self, **options: Any) -> Reranker:
        """Return a client that asks it nothing about itself."""
        defaults: dict[str, Any] = {"dialect": "compatible", "template": "server-fixed"}
        return Reranker("m", base_url=self.url, **(defaults | {"timeout": 20.0} | options))


def _read(wire: socket.socket, lines: Any, number: int) -> Request:
    method, target, _ = lines.readline().decode("latin-1").split(" ")
    headers = {}
    while line := lines.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    content = lines.read(int(headers.get("content-length", 0)))
    body = json.loads(content) if content else None
    return Request(wire, number, method, target, headers, body)
