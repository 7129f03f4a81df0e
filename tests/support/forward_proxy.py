"""A small HTTP proxy: it forwards plain requests, and tunnels what is asked for by CONNECT."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from typing_extensions import Self


@dataclass
class ForwardProxy:
    """Listens from entering to leaving the context.

    Args:
        status: What it answers to every request instead of forwarding it, with its reason.
        authorization: The value of ``Proxy-Authorization`` that it wants.

    Attributes:
        seen: The first line of every request.
    """

    status: str | None = None
    authorization: str | None = None
    seen: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.place}"
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        with contextlib.suppress(OSError), wire:
            head = b""
            while b"\r\n\r\n" not in head:
                head += (more := wire.recv(65536))
                if not more:
                    return
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.seen.append(f"{method} {target}")
            refused = self.status
            if (
                self.authorization
                and f"\r\nproxy-authorization: {self.authorization}".lower()
                not in (head.decode().lower())
            ):
                refused = "407 Proxy Authentication Required"
            if refused is not None:
                wire.sendall(f"HTTP/1.1 {refused}\r\ncontent-length: 0\r\n\r\n".encode())
                return
            place = urlsplit(target if method != "CONNECT" else f"//{target}")
            with socket.create_connection((str(place.hostname), place.port or 80)) as server:
                if method == "CONNECT":
                    wire.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:  # for one request and what follows it on this connection
                    server.sendall(head.replace(target.encode(), place.path.encode(), 1))
                other = threading.Thread(target=_pump, args=(server, wire), daemon=True)
                other.start()
                _pump(wire, server)
                other.join(60)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
