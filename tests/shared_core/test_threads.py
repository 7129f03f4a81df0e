"""Threads of a forward: how many, and nobody else's setting changed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from shared_core import Reranker
from shared_core.scorers.local import scorer as transformers
from shared_core.scorers.local import threads


def test_as_many_threads_as_pay(monkeypatch: pytest.MonkeyPatch, tiny: Reranker) -> None:
    tiny.score("query", ["document"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(threads, "available_cpus", lambda: 6)
    bundled = tiny.scorer._loaded.backbone.n_weights  # type: ignore[attr-defined]
    smallest_published = 28 * (1024 * 128 * (16 + 8 + 8 + 16) + 3 * 1024 * 3072)
    assert 1_000_000 < bundled < 3_000_000
    assert threads.choose_threads(None, bundled) == 1
    assert threads.choose_threads(None, smallest_published) == 6
    assert threads.choose_threads(3, bundled) == 3
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert threads.choose_threads(None, smallest_published) == 2


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_containers_quota_bounds_the_cpus(
    tmp_path: Path, files: dict[str, str], cpus: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._quota(tmp_path) == cpus


SCRIPT = """
import sys, threading, torch
from shared_core import Reranker
from shared_core.scorers.local import threads
from shared_core.scorers.local import scorer as transformers

if sys.argv[2] == "no library":
    threads._setter = lambda: None
def new_threads_setting():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]

torch.set_num_threads(2)
forward, seen = transformers._forward, []
def noting(loaded, pack):
    seen.append((torch.get_num_threads(), new_threads_setting()))
    return forward(loaded, pack)
transformers._forward = noting
with Reranker(sys.argv[1], device="cpu", threads=3) as reranker:
    reranker.score("query", ["document"])
    if sys.argv[2] == "own setting":
        torch.set_num_threads(4)  # the user changes their mind, which is theirs to do
    reranker.score("query", ["document"])
    print(seen, torch.get_num_threads(), new_threads_setting())
"""


@pytest.mark.parametrize(
    ("way", "seen"),
    [
        # A thread that begins during a forward has the process's setting, not ours.
        ("own setting", "[(3, 2), (3, 4)]"),
        ("no library", "[(3, 3), (3, 3)]"),
    ],
)
def test_the_callers_setting_stays(checkpoint: Path, way: str, seen: str) -> None:
    if way == "own setting" and sys.platform != "linux":
        pytest.skip("needs Linux, which has /proc")
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(checkpoint), way],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "4"},
    )
    assert finished.returncode == 0, finished.stderr
    theirs = "4 4" if way == "own setting" else "2 2"
    assert finished.stdout.strip() == f"{seen} {theirs}"


def test_scores_do_not_depend_on_threads(
    checkpoint: Path, reranker: Reranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = ["word " * 300, "another"]
    used: list[int] = []
    forward = transformers._forward

    def noting(loaded: transformers.LoadedModel, pack: transformers.Pack) -> list[float]:
        used.append(torch.get_num_threads())
        return forward(loaded, pack)

    monkeypatch.setattr(transformers, "_forward", noting)
    before = torch.get_num_threads()
    with Reranker(str(checkpoint), dtype="float32", device="cpu", threads=2) as other:
        scores = other.score("query", documents)
    assert used == [2]
    assert scores == pytest.approx(reranker.score("query", documents), abs=1e-5)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *found] == [before, before]
