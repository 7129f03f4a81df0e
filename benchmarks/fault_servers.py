"""The servers of `benchmarks.faults`: the service as a process, nginx, and a relay that cuts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

_SERVE = "from qwen3_rerank.cli import main; main()"
_START_SECONDS = 180


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Service:
    """The service as a process, always on the same port.

    Args:
        model: What it serves.
    """

    def __init__(self, model: str) -> None:
        self.port = free_port()
        self._flags = ["--port", str(self.port), "--model", model, "--device", "cpu"]
        self._flags += ["--dtype", "float32", "--log-level", "error"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, flags: Sequence[str] = ()) -> None:
        """Start it; returns at once."""
        command = [sys.executable, "-c", _SERVE, "serve", *self._flags, *flags]
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )

    def wait_until_ready(self) -> None:
        """Return when it takes requests."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready")
                return
            time.sleep(0.1)
        raise TimeoutError("the service did not start")

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Kill it, as a machine's failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Nginx:
    """nginx in front of servers: it buffers replies, and takes the next server where one is gone.

    Args:
        ports: Of the servers, on the loopback interface.

    Attributes:
        port: Passes everything on.
        silent_port: Passes everything on but ``Retry-After``.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.port, self.silent_port = free_port(), free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="faults-"))
        servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
        paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{path}_temp_path {self._folder}/{path};" for path in paths)
        listeners = "\n".join(
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://services; "
            f"proxy_buffering on; proxy_read_timeout 60s; proxy_http_version 1.1; "
            f'proxy_set_header Host $http_host; proxy_set_header Connection ""; {hidden} }} }}'
            for port, hidden in (
                (self.port, ""),
                (self.silent_port, "proxy_hide_header Retry-After;"),
            )
        )
        (self._folder / "nginx.conf").write_text(
            f"daemon off; pid {self._folder}/pid; error_log {self._folder}/errors;\n"
            f"events {{ worker_connections 512; }}\nhttp {{ access_log off; {temporary}\n"
            f"upstream services {{ {servers} keepalive 16; }}\n{listeners}\n}}\n"
        )
        program = shutil.which("nginx") or "nginx"
        command = [program, "-c", str(self._folder / "nginx.conf"), "-p", str(self._folder)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Relay:
    """Passes connections on, byte by byte, and cuts some replies in the middle.

    Attributes:
        target: The port to connect to.
        cut_every: Cut every so-manieth piece of a reply; 0 is none.
        open, most_open: Connections of clients, now and at most.
        n_cuts: How many replies were cut.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.cut_every = 0
        self.open = self.most_open = self.n_cuts = 0
        self._pieces = 0
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

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
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(
                self._pass(reader, upstream[1]), self._pass(upstream[0], writer, cuts=True)
            )
        except OSError:
            writer.transport.abort()
        finally:
            self.open -= 1

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cuts: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                self._pieces += cuts
                if cuts and self.cut_every and self._pieces % self.cut_every == 0:
                    writer.write(piece[: len(piece) - len(piece) // 4])  # inside of the body
                    await writer.drain()
                    self.n_cuts += 1
                    break
                writer.write(piece)
                await writer.drain()
        writer.close()
