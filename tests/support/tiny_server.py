"""A rerank server in a thread, of the standard library alone: it answers, or it refuses loudly."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared_core.scorers.remote.discovery import OWN_SERVICE


@dataclass
class TinyServer:
    """What the server was asked, and how to reach it.

    Attributes:
        url: Its address.
        together: How many requests must have come before the first is answered.
        refuses: Whether it answers 401 to everything, with all headers in the answer.
        bodies: The bodies of the POSTs that it got.
        headers: Their headers, with lower-case names.
    """

    url: str = ""
    together: int = 1
    refuses: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def score(document: str) -> float:
    """The score that the server gives: the longer, the better."""
    return min(len(document), 999) / 1000


@contextmanager
def tiny_server(*, together: int = 1, refuses: int = 0) -> Iterator[TinyServer]:
    """Serve until the end of the block; everything gets the status ``refuses`` if that is set."""
    state = TinyServer(together=together, refuses=refuses)
    barrier = threading.Barrier(together)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if refuses:
                self._refuse()
            elif self.path == "/health":
                self._answer(200, {"service": OWN_SERVICE, "version": "1"})
            else:
                self._answer(404, {"detail": "Not Found"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
            state.bodies.append(body)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            if refuses:
                self._refuse()
                return
            try:
                barrier.wait(20)
            except threading.BrokenBarrierError:
                self._answer(500, {"detail": "requests came one after another"})
                return
            results = [
                {"index": index, "score": score(document)}
                for index, document in enumerate(body["documents"])
            ]
            self._answer(200, {"results": results})

        def _refuse(self) -> None:
            told = dict(self.headers)
            self._answer(refuses, {"error": {"message": f"who are you? I was told {told}"}})

        def _answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def unreachable_url() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"
