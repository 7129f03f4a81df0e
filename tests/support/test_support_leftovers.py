"""Nothing outlives a run of the tests, and changes that they leave behind are errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

TESTS = Path(__file__).parents[1]
PATIENCE = 60  # seconds
# A process that starts another one in a session of its own, whose number it writes down.
SLEEPER = """
import os, subprocess, sys, time

SLEEP = "import time; time.sleep(600)"
START = (
    "import pathlib, subprocess, sys, time; "
    f"sleeper = subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True); "
    "pathlib.Path('sleeper.new').write_text(str(sleeper.pid)); "
    "pathlib.Path('sleeper.new').rename('sleeper'); "
    "time.sleep(600)"
)


def start():
    return subprocess.Popen([sys.executable, "-c", START], start_new_session=True)
"""
BLOCKED = """
import pathlib
import time

import pytest
from sleeper_start import start
from support import leftovers

leftovers.PATIENCE = 0


@pytest.fixture
def sleeper():
    process = start()
    yield process
    process.kill()
    process.wait()
    pathlib.Path("finalised").touch()


def test_that_waits(sleeper):
    time.sleep(600)
"""


def pytest_in(folder: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start pytest with the plugin on one file, in a folder."""
    (folder / "sleeper_start.py").write_text(SLEEPER)
    (folder / "test_it.py").write_text(program)
    (folder / "conftest.py").write_text('pytest_plugins = ["support.leftovers"]\n')
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(folder)]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "xdist", *arguments, "test_it.py"],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, pytest_process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert pytest_process.poll() is None, pytest_process.stdout
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_ends(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it is still running"
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_a_killed_pytest_takes_its_grandchildren_along(tmp_path: Path, workers: list[str]) -> None:
    with pytest_in(tmp_path, BLOCKED, *workers) as run:
        try:
            wait_for(tmp_path / "sleeper", run)
            sleeper = int((tmp_path / "sleeper").read_text())
            assert psutil.pid_exists(sleeper)
        finally:
            run.kill()
        assert_ends(sleeper)
    assert not (tmp_path / "finalised").exists()


def test_sigterm_lets_fixtures_end_what_they_began(tmp_path: Path) -> None:
    with pytest_in(tmp_path, BLOCKED) as run:
        try:
            wait_for(tmp_path / "sleeper", run)
            run.send_signal(signal.SIGTERM)
            run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
    assert (tmp_path / "finalised").exists()
    assert_ends(int((tmp_path / "sleeper").read_text()))


def test_what_a_test_leaves_behind_is_an_error(tmp_path: Path) -> None:
    program = (
        "import os, sleeper_start\n"
        "from support import leftovers\n"
        "leftovers.PATIENCE = 0\n\n"
        "def test_it():\n    os.environ['LEFT'] = '1'\n    sleeper_start.start()\n"
    )
    with pytest_in(tmp_path, program) as run:
        said, _ = run.communicate(timeout=PATIENCE)
    assert "1 passed, 1 error" in said
    assert "tests left changes behind" in said
    assert "['LEFT']" in said
    assert "tests left processes behind" in said
