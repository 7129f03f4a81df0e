"""llama.cpp's server behind nginx, with replies cut, stopped, and killed, a few calls of each."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from benchmarks.fault_processes import make
from benchmarks.faults import Run


@pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx here: apt-get install nginx-light"
)
def test_no_answer_is_wrong_and_no_call_is_without_one() -> None:
    run = Run(make("llamacpp", "tiny"), "tiny", n_requests=192, has_full_queue=False)
    asyncio.run(run.all_phases())
    assert [(len(x.seconds), x.wrong, x.errors) for x in run.phases] == [(32, 0, {})] * 4
    assert all(phase.events for phase in run.phases[1:])
