"""How many threads to use on a machine that other work shares.

Torch waits for its slowest thread after every operation. With a core taken by somebody else, two
threads were seen to be four times slower than one; with both cores free, nearly twice as fast.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

STAT = Path("/proc/stat")


class SpareCores:
    """Sets torch's thread count to the cores that other processes left idle since the last call."""

    def __init__(self) -> None:
        self.cores = os.cpu_count() or 1
        self.ticks = os.sysconf("SC_CLK_TCK") if STAT.exists() else 0
        self.before = self._now() if self.ticks else (0.0, 0.0, 0.0)

    def _now(self) -> tuple[float, float, float]:
        """(clock, busy seconds of all processes on all cores, busy seconds of this process)."""
        fields = [int(x) for x in STAT.read_text().split("\n", 1)[0].split()[1:9]]
        busy = (sum(fields) - fields[3] - fields[4]) / self.ticks
        return time.monotonic(), busy, time.process_time()

    def adapt(self) -> None:
        if not self.ticks:
            return
        now = self._now()
        clock, busy, own = (a - b for a, b in zip(now, self.before, strict=True))
        if clock < 2:
            return
        self.before = now
        taken = (busy - own) / clock
        torch.set_num_threads(max(1, round(self.cores - taken - 0.2)))
