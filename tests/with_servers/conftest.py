"""Real servers over the bundled model; without their environment, all of this is skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import BUNDLED
from support.remote_oracle import Oracle
from support.services import Process
from with_servers.processes import IS_READY, llamacpp

from shared_core import Reranker

collect_ignore = ["llamacpp_process.py"]  # which runs in the servers' environment
HERE = Path(__file__).parent
Connect = Callable[..., Reranker]
Gateway = Callable[[str, str], Process]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if IS_READY:
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no real servers here: make test-servers"))


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().endswith(("_API_KEY", "_TOKEN", "_PROXY")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def started() -> Iterator[ExitStack]:
    """What a module's servers are entered into, so that they end with it."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def with_head(started: ExitStack) -> str:
    """llama.cpp with the file of a reranker."""
    return started.enter_context(llamacpp(BUNDLED))


@pytest.fixture(scope="module")
def without_head(started: ExitStack) -> str:
    """llama.cpp with the file of any language model, and ``--reranking`` all the same."""
    return started.enter_context(llamacpp(BUNDLED, has_head=False))


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """The bundled model, for servers in a thread."""
    return Oracle(BUNDLED)


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make rerankers that are closed with the test."""
    with ExitStack() as stack:

        def make(url: str, model: str = "tiny", **options: Any) -> Reranker:
            patience: dict[str, Any] = {"timeout": 120.0, "total_timeout": 240.0}
            return stack.enter_context(
                Reranker(model, base_url=url, **(patience | options))  # type: ignore[arg-type]
            )

        yield make


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Start our service before a server, by its address and the model's name there."""
    with ExitStack() as stack:

        def start(url: str, model: str) -> Process:
            process = Process(tmp_path / "log", "--base-url", url, "--model", model)
            stack.callback(process.kill)
            return process

        yield start
