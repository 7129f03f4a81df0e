"""The benchmark of faults, small: real processes, and nothing wrong or lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from support.services import Running

from benchmarks.fault_processes import Service
from benchmarks.faults import Run, draw
from qwen3_rerank.service.server import make_server
from qwen3_rerank.service.settings import ServiceSettings
from shared_core import Reranker


@pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx here: apt-get install nginx-light"
)
def test_no_answer_is_wrong_and_no_call_is_without_one(tmp_path: Path) -> None:
    """The process that fails asks a service in a thread, since one with a model starts slowly."""
    settings = ServiceSettings(port=0, log_level="warning")
    reranker = Reranker("tiny", dtype="float32", device="cpu")
    behind = Running(make_server(settings, reranker=reranker))
    service = Service("tiny", ["--base-url", behind.url])
    run = Run(service, "tiny", n_requests=192, has_full_queue=False)  # 32 in each of six
    try:
        asyncio.run(run.all_phases())
    finally:
        behind.stop()
    assert [(len(x.seconds), x.wrong, x.errors) for x in run.phases] == [(32, 0, {})] * 4
    assert all(phase.events for phase in run.phases[1:])
    assert max(phase.connections for phase in run.phases) < 3 * 32
    draw(run.phases, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
