"""The benchmark of faults, small: real processes, and nothing wrong or lost."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from benchmarks.faults import Run, draw


@pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx here: apt-get install nginx-light"
)
def test_no_answer_is_wrong_and_no_call_is_without_one(checkpoint: Path, tmp_path: Path) -> None:
    run = Run(str(checkpoint), n_requests=192)  # 32 in each of six phases
    asyncio.run(run.all_phases(with_full_queue=False))
    phases = {phase.name: phase for phase in run.phases}
    assert [(len(x.seconds), x.wrong, x.errors) for x in run.phases] == [(32, 0, {})] * 4
    assert phases["replies cut"].events > 0
    assert phases["killed, restarted"].events > 0
    assert max(phase.connections for phase in run.phases) < 3 * 32
    draw(run.phases, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
