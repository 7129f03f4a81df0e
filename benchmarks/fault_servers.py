"""What stands between client and server in `benchmarks.faults`: nginx, and a relay that cuts."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fault_processes import free_port

# With a 429 alone: a header whose value is empty is left out.
_WAIT = "add_header Retry-After $wait always;"


class Nginx:
    """nginx in front of servers: it buffers replies, and takes the next server where one is gone.

    Args:
        ports: Of the servers, on the loopback interface.

    Attributes:
        port: Passes everything on.
        silent_port: Passes everything on but ``Retry-After``.
        full_port: Answers 429 with ``Retry-After`` to what is more than 4 requests at once.
        silent_full_port: Answers 429 without it.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        full = "limit_conn all 4; limit_conn_status 429;"
        kinds = ("", "proxy_hide_header Retry-After;", f"{full} {_WAIT}", full)
        listening = {free_port(): kind for kind in kinds}
        self.port, self.silent_port, self.full_port, self.silent_full_port = listening
        self._folder = Path(tempfile.mkdtemp(prefix="faults-"))
        servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{path}_temp_path {self._folder}/{path};" for path in paths)
        listeners = "\n".join(
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://services; "
            f"proxy_buffering on; proxy_read_timeout 60s; proxy_http_version 1.1; "
            f'proxy_set_header Host $http_host; proxy_set_header Connection ""; {more} }} }}'
            for port, more in listening.items()
        )
        (self._folder / "nginx.conf").write_text(
            f"daemon off; pid {self._folder}/pid; error_log {self._folder}/errors;\n"
            f"events {{ worker_connections 512; }}\nhttp {{ access_log off; {temporary}\n"
            "limit_conn_zone $server_addr zone=all:1m; map $status $wait { 429 1; }\n"
            f"upstream services {{ {servers} keepalive 16; }}\n{listeners}\n}}\n"
        )
        program = shutil.which("nginx") or "nginx"
        command = [program, "-c", str(self._folder / "nginx.conf"), "-p", str(self._folder)]
        subprocess.run([*command, "-t", "-q"], check=True)  # noqa: S603  # the file is right
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Relay:
    """Passes connections on, byte by byte, and cuts some replies in the middle.

    Args:
        target: The port to connect to.

    Attributes:
        cut_every: Cut every so-manieth piece of a reply; 0 is none.
        open, most_open: Connections of clients, now and at most.
        n_faults: How many replies were cut, or had the status 429.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.cut_every = 0
        self.open = self.most_open = self.n_faults = 0
        self._pieces = 0
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def turn_to(self, target: int) -> None:
        """Connect to another port from now on; connections to the one before end."""
        self._target = target
        for handler in list(self._handlers):
            handler.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=10)

    async def stop(self) -> None:
        """Listen no more, and return when all connections have ended."""
        if self._server is not None:
            self._server.close()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (handler := asyncio.current_task()) is not None:
            self._handlers.add(handler)
            handler.add_done_callback(self._handlers.discard)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        upstream = None
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(
                self._pass(reader, upstream[1]), self._pass(upstream[0], writer, cuts=True)
            )
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            if upstream is not None:
                upstream[1].close()
            self.open -= 1

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cuts: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                self._pieces += cuts
                self.n_faults += piece.startswith(b"HTTP/1.1 429")
                if cuts and self.cut_every and self._pieces % self.cut_every == 0:
                    writer.write(piece[: len(piece) - len(piece) // 4])  # inside of the body
                    await writer.drain()
                    self.n_faults += 1
                    break
                writer.write(piece)
                await writer.drain()
        writer.close()
