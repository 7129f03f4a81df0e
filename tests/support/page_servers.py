"""The page as a real process, and what an attacker sends to it."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

KEY = f"key-{secrets.token_hex(8)}"
_PLACE = re.compile(r"http://127\.0\.0\.1:(\d+)|listening on 127\.0\.0\.1 port (\d+)")


class PageServer:
    """A process with the page.

    Args:
        process: It.
        url: Its address.
        page: The path of the page, without the last slash.
        temporary: Its folder for temporary files, which is empty at the start.
        secret: What must not be read by anybody: it is in a file, in the environment and in the
            command line of the process.
        secret_file: The file.
        headers: What lets a request in.
    """

    def __init__(
        self,
        process: subprocess.Popen[str],
        url: str,
        page: str,
        temporary: Path,
        secret: str,
        secret_file: Path,
        headers: dict[str, str],
    ) -> None:
        self.process = process
        self.url = url
        self.page = page
        self.temporary = temporary
        self.secret = secret
        self.secret_file = secret_file
        self.headers = headers

    def client(self, **headers: str) -> httpx.Client:
        """Return a client of the page, whose headers let it in."""
        return httpx.Client(
            base_url=f"{self.url}{self.page}", headers=self.headers | headers, timeout=60
        )

    def config(self) -> dict[str, Any]:
        """Return Gradio's own description of the page."""
        with self.client() as client:
            found = json.loads(client.get("/config").text)
        assert len(found["dependencies"]) > 5
        return dict(found)

    def memory(self) -> int:
        """Return the bytes that the process has in memory."""
        (kilobytes,) = re.findall(
            r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text(), re.M
        )
        return 1024 * int(kilobytes)


@contextmanager
def page_server(folder: Path, command: str, *flags: str, key: str = "") -> Iterator[PageServer]:
    """Yield a process of ``qwen3-rerank ui`` or ``serve`` on a free port, ended afterwards."""
    secret = f"secret-{secrets.token_hex(8)}"
    secret_file = folder / "secret.txt"
    secret_file.write_text(secret)
    temporary = folder / "tmp"
    temporary.mkdir()
    log = folder / "log"
    options = ["--model", "tiny", "--device", "cpu", "--dtype", "float32", "--port", "0", *flags]
    options += ["--require-key", key] if key else []
    program = f"from qwen3_rerank.cli import main; main()  # {secret}"
    with log.open("w") as to:
        process = subprocess.Popen(
            [sys.executable, "-c", program, command, *options],
            stdout=to,
            stderr=to,
            text=True,
            env={**os.environ, "TMPDIR": str(temporary), "OTHER_SECRET": secret},
        )
    try:
        port = _port(process, log)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        page = "" if command == "ui" else "/ui"
        url = f"http://127.0.0.1:{port}"
        yield PageServer(process, url, page, temporary, secret, secret_file, headers)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def _port(process: subprocess.Popen[str], log: Path) -> int:
    for _ in range(1800):
        found = _PLACE.search(log.read_text())
        if found:
            return int(found[1] or found[2])
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(log.read_text())
