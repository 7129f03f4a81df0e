"""A process that ends whatever a run of the tests started, as soon as pytest is gone.

Every process below pytest inherits the variable `RUN`, which names the run. The watchdog waits at
the end of a pipe that pytest alone holds. When the pipe closes, also because pytest was killed, it
kills what carries the name, and so reaches processes that left pytest's process group and are not
its children: the engines of vLLM's servers, the nodes and workers of Ray, browsers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import psutil

RUN = "QWEN3_RERANK_TEST_RUN"


def start_watchdog() -> subprocess.Popen[bytes]:
    """Name this run in the environment, and start the process that ends what carries the name."""
    environment = dict(os.environ)
    name = uuid.uuid4().hex
    os.environ[RUN] = name
    # Else a process that changes its title, as vLLM's do, overwrites its environment in /proc.
    os.environ["SPT_NOENV"] = "1"
    return subprocess.Popen(
        [sys.executable, __file__, name],
        stdin=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C in a terminal reaches pytest alone
    )


def processes_of(name: str) -> list[psutil.Process]:
    """Return the processes whose `RUN` begins with a name, and all that they started."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN, "").startswith(name):
                found |= {process, *process.children(recursive=True)}
        except (psutil.Error, OSError):  # noqa: PERF203  # ended meanwhile, or another user's
            continue
    return sorted(found, key=lambda process: process.pid)


def kill_all(name: str) -> None:
    """Kill the processes of a run, and those that they start meanwhile."""
    for _ in range(50):
        processes = processes_of(name)
        for process in processes:
            try:
                process.kill()
            except psutil.Error:  # noqa: PERF203  # ended meanwhile
                continue
        if not processes:
            return
        psutil.wait_procs(processes, timeout=0.2)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill_all(sys.argv[1])
