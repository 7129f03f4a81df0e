"""Servers to talk to, and the local reranker that says what is right."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import write_checkpoint
from support.remote_cases import Case, Connect, Line, Lines, Serve
from support.remote_oracle import Oracle
from support.rerank_server import RerankServer

from shared_core import Reranker


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests have the keys that they set, and no proxy comes between."""
    for name in list(os.environ):
        if name.upper().endswith(("_API_KEY", "_TOKEN", "_PROXY")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """A random checkpoint that happens to judge the known pairs rightly, as trained ones do."""
    return write_checkpoint(tmp_path_factory.mktemp("servers"), small_tokenizer, seed=11)


@pytest.fixture(scope="session")
def reranker(checkpoint: Path) -> Reranker:
    """The local one over that checkpoint."""
    return Reranker(str(checkpoint), dtype="float32", device="cpu")


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


@pytest.fixture(scope="module")
def module_lines(oracle: Oracle, checkpoint: Path) -> Iterator[Lines]:
    """One server and reranker per case, made on first use, for all tests of a module."""
    lines: dict[str, Line] = {}
    with ExitStack() as stack:

        def line(case: Case) -> Line:
            if case.name not in lines:
                server = stack.enter_context(RerankServer(case.serve(oracle)))
                options: dict[str, Any] = {"model": "reranker", "base_url": server.url}
                options |= {"tokenizer": str(checkpoint)} if case.sends_ids else {}
                options |= {"max_retries": 2, "total_timeout": 20.0, "timeout": 10.0}
                made = stack.enter_context(Reranker(**(options | case.options)))
                made.score("warm up", ["now all questions about the server are asked"])
                lines[case.name] = Line(case, server, made)
            return lines[case.name]

        yield line


@pytest.fixture
def lines(module_lines: Lines) -> Lines:
    """`module_lines` with nothing wrong and nothing seen yet, but with the server known."""

    def line(case: Case) -> Line:
        found = module_lines(case)
        found.server.fault = None
        found.server.seen.clear()
        return found

    return line
