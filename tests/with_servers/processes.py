"""Starts real servers as processes, in the environment that `make test-servers` makes.

::

    with llamacpp(checkpoint, has_head=True) as url:
        ...
    with litellm({"name": {"model": "hosted_vllm/m", "api_base": url}}) as proxy:
        ...
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-servers"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
IS_READY = (ENVIRONMENT / "bin" / ".ready").exists()
KEY = "sk-Kq7vR2mZx9Wp4TbN8sLd"
"""LiteLLM's key; it starts with no weak one."""

_PATIENCE = 300.0  # seconds to start, on a machine that is busy


@contextmanager
def llamacpp(
    checkpoint: Path,
    *,
    has_head: bool = True,
    reranking: bool = True,
    quantised: bool = False,
    context: int = 2048,
) -> Iterator[str]:
    """Yield the address of llama.cpp's server over a checkpoint.

    Args:
        checkpoint: A folder with a Qwen3 checkpoint.
        has_head: Whether its GGUF file is converted as that of a reranker.
        reranking: Whether it is started with ``--reranking``.
        quantised: Whether its matrices have eight bits.
        context: The most tokens of a prompt, and one more.
    """
    with tempfile.TemporaryDirectory(prefix="llamacpp-") as folder:
        flags = ["--reranking"] * reranking + ["--quantised"] * quantised
        path = Path(folder) / "reranker.gguf"
        command = [
            *llamacpp_command(checkpoint, path, *flags, has_head=has_head),
            *("--context", str(context)),
        ]
        with running(command, Path(folder)) as log:
            yield when_ready(log, _printed_address, "/health")


def llamacpp_command(
    checkpoint: Path, path: Path, *flags: str, has_head: bool = True, port: int = 0
) -> list[str]:
    """Return what writes a checkpoint's GGUF file to a path, and serves it."""
    return [
        *(str(BIN / "python"), str(Path(__file__).with_name("llamacpp_process.py"))),
        *(str(checkpoint), str(path), "--port", str(port)),
        *("--file", "with-head" if has_head else "without-head", *flags),
    ]


@contextmanager
def litellm(models: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the address of a LiteLLM proxy, which wants `KEY`.

    Args:
        models: Its models by name, each with LiteLLM's own parameters: ``model`` with its provider
            in front, ``api_base``, ``api_key``.
    """
    with tempfile.TemporaryDirectory(prefix="litellm-") as folder:
        port = free_port()
        command = litellm_command(models, Path(folder), port)
        url = f"http://127.0.0.1:{port}"
        with running(command, Path(folder)) as log:
            yield when_ready(log, lambda _: url, "/health/liveliness")


def litellm_command(models: Mapping[str, Mapping[str, str]], folder: Path, port: int) -> list[str]:
    """Return what starts a LiteLLM proxy, whose configuration is written into a folder."""
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": dict(parameters)}
            for name, parameters in models.items()
        ],
        "general_settings": {"master_key": KEY},
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))  # which is YAML
    return [
        *(str(BIN / "litellm"), "--config", str(path), "--host", "127.0.0.1"),
        *("--port", str(port), "--num_workers", "1", "--telemetry", "False"),
    ]


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Log:
    """What a process printed, and whether it still runs."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self.process = process
        self._path = path

    @property
    def text(self) -> str:
        return self._path.read_text(errors="replace")


@contextmanager
def running(command: list[str], folder: Path, **more: str) -> Iterator[Log]:
    """Run a command without keys and proxies of the caller's; end it in any case.

    Args:
        command: The command.
        folder: Where it runs, and its log is.
        more: More variables of its environment.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not re.search(r"_(API_KEY|TOKEN|PROXY)$", name, re.IGNORECASE)
    }
    environment |= {"OMP_NUM_THREADS": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"} | more
    path = folder / "log"
    with path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        yield Log(process, path)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def when_ready(log: Log, address: Callable[[str], str | None], page: str) -> str:
    """Return a server's address as soon as it answers.

    Raises:
        RuntimeError: It ended before, or took too long; the message ends with its log.
    """
    deadline = time.monotonic() + _PATIENCE
    while log.process.poll() is None and time.monotonic() < deadline:
        url = address(log.text)
        if url is not None:
            try:
                if httpx.get(url + page, timeout=5, trust_env=False).status_code == 200:
                    return url
            except httpx.TransportError:
                pass  # it is not listening yet
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.text[-4000:]}")


def _printed_address(text: str) -> str | None:
    found: Any = re.search(r"^http://[\d.:]+$", text, re.MULTILINE)
    return found[0] if found else None
