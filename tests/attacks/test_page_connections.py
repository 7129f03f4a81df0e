"""Clients that open connections to the page alone and do not use them keep nobody else out."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.page_servers import PageServer, page_server

pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")

CONNECTIONS = 1100


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    """One that may open 1,024 files, as usual; this process may open more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CONNECTIONS:
        pytest.skip("a process may open too few files here: as root, ulimit -Hn 4096")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        with page_server(tmp_path, "ui") as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CONNECTIONS), hard))
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_connections_than_files(server: PageServer, tmp_path: Path) -> None:
    """The page is answered while they are open, and what it writes stays small."""
    place = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(socket.create_connection(place, timeout=30))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert [httpx.get(server.url, timeout=20).status_code for _ in range(3)] == [200] * 3
    written = (tmp_path / "log").read_text()
    assert written.count("a connection was closed: crowded out") == 1
    assert len(written) < 10_000, written[:2000]
