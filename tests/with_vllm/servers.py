"""Real vLLM servers for tests: four ways in which people serve a Qwen3-Reranker.

::

    with vllm_server("templated", checkpoint) as url:
        httpx.get(f"{url}/v1/models")

A server takes about half a minute and a gigabyte, so start each kind once for all tests of it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import shared_core
from shared_core.prompt import DEFAULT_INSTRUCTION, HEAD, SUFFIX

Kind = Literal["templated", "vllm-template", "untemplated", "generate"]
"""How the checkpoint is served.

``templated``
    Pooling runner, with this project's chat template: /rerank takes plain texts and an instruction.
``vllm-template``
    Likewise, with the words of vLLM's own template, whose rendered suffix lacks the last newline.
``untemplated``
    Pooling runner without a template: /rerank joins query and document as they are.
``generate``
    Not started as a reranker at all: /v1/completions and /generative_scoring only.
"""

TEMPLATE = Path(shared_core.__file__).parent / "templates" / "qwen3_reranker.jinja"
MODEL_NAME = "reranker"
_OVERRIDES = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}


def vllm_template() -> str:
    """Return a template that renders what vLLM's own ``qwen3_reranker.jinja`` does.

    Jinja drops the last newline of a template, and that file (vllm ``examples/pooling/score/
    template/qwen3_reranker.jinja`` at 5d6a1c2) has none to spare: ``</think>`` and one newline.
    """
    instruction = (
        'instruction | default(messages | selectattr("role", "eq", "system") '
        f'| map(attribute="content") | first | default("{DEFAULT_INSTRUCTION}", true), true)'
    )
    query, document = (
        f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first'
        for role in ("query", "document")
    )
    fields = (
        f"<Instruct>: {{{{ {instruction} }}}}\n"
        f"<Query>: {{{{ {query} }}}}\n<Document>: {{{{ {document} }}}}"
    )
    return f"{HEAD}{fields}{SUFFIX}"


@contextmanager
def vllm_server(
    kind: Kind,
    checkpoint: Path,
    *arguments: str,
    dtype: str = "float32",
    max_model_len: int = 1024,
    ready_within: float = 180.0,
    port: int | None = None,
) -> Iterator[str]:
    """Yield the address of a server of this kind, ready to answer; stop it in any case.

    Args:
        kind: See `Kind`.
        checkpoint: A folder with a Qwen3 causal checkpoint, served as the model ``"reranker"``.
        arguments: More arguments of vLLM's server, such as ``"--api-key", "k"``.
        dtype: What it computes in.
        max_model_len: The most tokens of a prompt.
        ready_within: Seconds until it must answer.
        port: Where it listens; ``None`` finds a free one.

    Raises:
        RuntimeError: It ended or was not ready in time; the message has the end of its log.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="vllm-server-") as folder:
        command = [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(checkpoint), "--served-model-name", MODEL_NAME),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--dtype", dtype, "--max-model-len", str(max_model_len), "--enforce-eager"),
            *_kind_arguments(kind, Path(folder)),
            *arguments,
        ]
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | server_environment(),
                start_new_session=True,  # one group with its engine process, to end both
            )
        try:
            _wait_until_ready(process, url, log_path, ready_within)
            yield url
        finally:
            _stop(process)


def server_environment() -> dict[str, str]:
    """Return the variables that keep a vLLM small, quiet and off the network."""
    return {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }


def _kind_arguments(kind: Kind, folder: Path) -> list[str]:
    if kind == "generate":
        return []
    pooling = ["--runner", "pooling", "--hf-overrides", json.dumps(_OVERRIDES)]
    if kind == "untemplated":
        return pooling
    template = TEMPLATE
    if kind == "vllm-template":
        template = folder / "qwen3_reranker.jinja"
        template.write_text(vllm_template())
    return [*pooling, "--chat-template", str(template)]


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(
    process: subprocess.Popen[bytes], url: str, log_path: Path, ready_within: float
) -> None:
    deadline = time.monotonic() + ready_within
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  # our own
                return
        except OSError:  # noqa: PERF203  # it is not listening yet
            time.sleep(0.2)
    state = "was not ready in time" if process.poll() is None else "ended"
    log = log_path.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"the vLLM server {state}:\n{log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its engine process, gently first."""
    for how, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 15.0)):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
