"""`ui` as a process: how it starts and ends. What it shows is in tests/qwen3_rerank/page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

pytest.importorskip("gradio", reason="no gradio here: pip install -e '.[ui]'")
COMMAND = [sys.executable, "-c", "from qwen3_rerank.cli import main; main()", "ui"]
TINY = ["--model", "tiny", "--device", "cpu", "--dtype", "float32"]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1"}


def test_it_prints_its_address_and_ctrl_c_ends_it_with_0() -> None:
    with subprocess.Popen(
        [*COMMAND, *TINY, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        page = httpx.get(url, timeout=60, trust_env=False)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert page.status_code == 200
    assert "Qwen3-Reranker" in page.text
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_what_keeps_it_from_starting_is_said_with_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, reason in (
            ([*TINY, "--port", port], "address already in use"),
            (["--model", "/no/such/folder"], "/no/such/folder"),
            (["--base-url", "ftp://somewhere"], "base_url"),
        ):
            done = subprocess.run(
                [*COMMAND, *arguments],
                capture_output=True,
                text=True,
                check=False,
                env=ENVIRONMENT,
                timeout=300,
            )
            assert done.returncode == 2, done.stderr
            assert reason in done.stderr
            assert "Traceback" not in done.stderr
