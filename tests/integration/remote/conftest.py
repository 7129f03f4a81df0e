"""Servers to talk to, and the local reranker that says what is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from remote_oracle import Oracle
from rerank_server import Kind, RerankServer

from shared_core import Reranker

Serve = Callable[[Kind], RerankServer]
Connect = Callable[..., Reranker]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have the keys that they set, and no proxy comes between."""
    import os

    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_TOKEN", "_PROXY", "_proxy")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def oracle(checkpoint: Path) -> Oracle:
    return Oracle(checkpoint)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(RerankServer(kind))


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make rerankers that are closed with the test."""
    with ExitStack() as stack:

        def make(server: RerankServer | str, **options: Any) -> Reranker:
            url = server if isinstance(server, str) else server.url
            options = {"model": "reranker", "base_url": url} | options
            return stack.enter_context(Reranker(**options))

        yield make
