"""A small model's buffers stay with the process from one forward to the next."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
from shared_core import Reranker

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

reranker = Reranker("tiny", device="cpu", dtype="float32")
documents = [f"Passage {number} says how cold it is where mercury freezes." for number in range(40)]
for _ in range(5):
    reranker.rerank("mercury", documents)
before = faults()
for _ in range(10):
    reranker.rerank("mercury", documents)
print((faults() - before) / 10)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose buffers are kept")
def test_a_forward_faults_no_buffers_in() -> None:
    """More than a thousand pages otherwise, each a call of the system."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=300
    )
    assert float(done.stdout) < 300
