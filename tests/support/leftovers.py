"""A pytest plugin: what tests start ends with pytest, and what they change is changed back.

A module that ends with another environment, working directory or numerical setting than it began
with has an error, and so has a worker whose tests left a process running.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from support.prepared_command import end_prepared
from support.watchdog import RUN, processes_of, start_watchdog

PATIENCE = 10.0  # seconds that processes have to end after they were told to
# Variables that pytest, or a library at its first use, sets for good.
OTHERS = (
    *("PYTEST_CURRENT_TEST", RUN, "RAY_", "PYTHONBREAKPOINT", "VLLM_", "TORCHINDUCTOR_"),
    *("GRADIO_", "HF_HUB_DISABLE_", "KMP_"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the watchdog, once for all workers; let SIGTERM end the run as Ctrl-C does.

    A run in the background of a shell ignores Ctrl-C, and so would the processes that it starts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    watchdog = start_watchdog()

    def end() -> None:
        assert watchdog.stdin is not None
        watchdog.stdin.close()
        watchdog.wait()

    config.add_cleanup(end)


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """Fail where processes that this worker's tests started are still there at the end."""
    name = os.environ[RUN] = f"{os.environ[RUN]}-{os.getpid()}-"
    yield
    end_prepared()
    deadline = time.monotonic() + PATIENCE
    while (left := running(name)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"tests left processes behind: {left}"


@pytest.fixture(scope="module", autouse=True)
def nothing_is_changed() -> Iterator[None]:
    """Fail where a module's tests or fixtures left this process otherwise than they found it.

    The message has names alone, since values of variables may be secrets.
    """
    before = state()
    yield
    after = state()
    names = before.keys() | after.keys()
    changed = [name for name in sorted(names) if before.get(name) != after.get(name)]
    if "torch's dtype" not in before:  # torch was imported meanwhile
        changed = [name for name in changed if not name.startswith("torch's ")]
    assert not changed, f"tests left changes behind: {changed}"


def running(name: str) -> list[str]:
    """Return the processes of a worker, but for a helper that ends with it, for a message."""
    found = []
    for process in processes_of(name):
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        # An engine of vLLM that lives in this process ends with it.
        if command and "resource_tracker" not in command and not command.startswith("VLLM::"):
            found.append(f"{process.pid}: {command[:200]}")
    return found


def state() -> dict[str, object]:
    """Return what the tests of one process share, by name."""
    found: dict[str, object] = {
        **{name: value for name, value in os.environ.items() if not name.startswith(OTHERS)},
        "working directory": os.getcwd(),
        "module path": list(sys.path),
    }
    if torch := sys.modules.get("torch"):
        found |= {
            "torch's threads": torch.get_num_threads(),
            "torch's dtype": torch.get_default_dtype(),
            "torch's gradients": torch.is_grad_enabled(),
            "torch's determinism": torch.are_deterministic_algorithms_enabled(),
            "torch's precision": torch.get_float32_matmul_precision(),
        }
    return found
