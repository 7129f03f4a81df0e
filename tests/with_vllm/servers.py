"""Real vLLM servers for tests: four ways in which people serve a Qwen3-Reranker.

::

    with vllm_server("templated", checkpoint) as url:
        httpx.get(f"{url}/v1/models")

A server takes about half a minute and a gigabyte, so `Servers` has one of each kind for all tests.
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
from contextlib import ExitStack, contextmanager
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

KINDS: tuple[Kind, ...] = ("templated", "vllm-template", "untemplated", "generate")
# A server that only imports its modules is silent for 20 s of a quiet core.
SILENCE = 300.0
TEMPLATE = Path(shared_core.__file__).parent / "prompt" / "qwen3_reranker.jinja"
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
    silence: float = SILENCE,
    port: int | None = None,
    python: str = sys.executable,
) -> Iterator[str]:
    """Yield the address of a server of this kind, ready to answer; stop it in any case.

    Args:
        kind: See `Kind`.
        checkpoint: A folder with a Qwen3 causal checkpoint, served as the model ``"reranker"``.
        arguments: More arguments of vLLM's server, such as ``"--api-key", "k"``.
        dtype: What it computes in.
        max_model_len: The most tokens of a prompt.
        python: The interpreter of an environment with vLLM.
        silence: Seconds without a new line in its log after which it counts as stuck.
        port: Where it listens; ``None`` finds a free one.

    Raises:
        RuntimeError: It ended, or said nothing new for too long; the message ends with its log.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="vllm-server-") as folder:
        command = [
            *(python, "-m", "vllm.entrypoints.openai.api_server"),
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
            _wait_until_ready(process, url, log_path, silence)
            yield url
        finally:
            _stop(process)


class Servers:
    """One server of each kind over one checkpoint, for all tests of a session.

    They are started one after another, so that they do not starve each other.

    Args:
        checkpoint: What they serve.
        stack: Stops them when it is closed.
    """

    def __init__(self, checkpoint: Path, stack: ExitStack) -> None:
        self._checkpoint = checkpoint
        self._running: dict[Kind, ExitStack] = {}
        self.urls: dict[Kind, str] = {}
        for kind in KINDS:
            self._running[kind] = stack.enter_context(ExitStack())
            self._start(kind, None)

    def start_again(self, kind: Kind) -> None:
        """Start the server of a kind again, on its port."""
        self._running[kind].close()
        self._start(kind, int(self.urls[kind].rsplit(":", 1)[1]))

    def _start(self, kind: Kind, port: int | None) -> None:
        server = vllm_server(kind, self._checkpoint, port=port)
        self.urls[kind] = self._running[kind].enter_context(server)


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
    process: subprocess.Popen[bytes], url: str, log_path: Path, silence: float
) -> None:
    """Wait as long as the process lives and says new things: how long depends on the machine."""
    said, heard = 0, time.monotonic()
    while process.poll() is None and time.monotonic() - heard < silence:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  # our own
                return
        except OSError:
            time.sleep(0.2)  # it is not listening yet
        if (size := log_path.stat().st_size) > said:
            said, heard = size, time.monotonic()
    state = "ended" if process.poll() is not None else f"said nothing for {silence:g} s"
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
