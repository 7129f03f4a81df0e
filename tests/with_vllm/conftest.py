"""Rerankers over real vLLM engines, each started once. Without vLLM, all of this is skipped."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.checkpoints import BUNDLED
from with_vllm.engines import vllm_reranker
from with_vllm.servers import Kind, Servers, server_environment

from shared_core import Reranker

HERE = Path(__file__).parent
HAS_VLLM = importlib.util.find_spec("vllm") is not None

if HAS_VLLM:
    for name, value in server_environment().items():
        os.environ.setdefault(name, value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if HAS_VLLM:
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no vLLM here: make test-vllm"))


@pytest.fixture(scope="session")
def engine(checkpoint: Path) -> Iterator[Reranker]:
    """One float32 engine over the tied checkpoint, for all tests that only ask it something."""
    with vllm_reranker(checkpoint) as reranker:
        reranker.score("a query", ["starts the engine"])  # here, where no test's time is counted
        yield reranker


@pytest.fixture(scope="session")
def running() -> Iterator[Servers]:
    """One server of each kind over the bundled model."""
    with ExitStack() as stack:
        yield Servers(BUNDLED, stack)


@pytest.fixture
def servers(running: Servers) -> dict[Kind, str]:
    """The addresses of the servers, by kind."""
    return running.urls


@pytest.fixture(scope="module", autouse=True)
def nothing_is_changed() -> None:
    """In place of the check for all tests: vLLM sets a dozen variables for good."""
