"""Services of the tests, and clients of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.services import MAX_LENGTH, Run, Running

from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Reranker


@pytest.fixture
def run() -> Iterator[Run]:
    """Start services in threads: ``run(reranker, max_documents=3)``."""
    running: list[Running] = []

    def start(reranker: Reranker, **options: Any) -> Running:
        settings = ServiceSettings(port=0, log_level="warning", **options)
        running.append(Running(make_server(settings, reranker=reranker)))
        return running[-1]

    yield start
    for service in running:
        service.stop()


@pytest.fixture(scope="session")
def reranker(checkpoint: Path) -> Reranker:
    """The direct way, and the model of the services in threads; cuts early, to be quick."""
    return Reranker(str(checkpoint), dtype="float32", device="cpu", max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def service(reranker: Reranker) -> Iterator[Running]:
    """A service of the random checkpoint, with the limits it has by default."""
    running = Running(
        make_server(ServiceSettings(port=0, max_length=MAX_LENGTH), reranker=reranker)
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[httpx.Client]:
    """An HTTP client of it."""
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client
