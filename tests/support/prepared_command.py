"""The command line in processes that find torch imported: each is a fork of one that imported it.

Importing torch and transformers costs seconds of a processor, and a call of the command on the
bundled model little else. What a fork runs is all of the command, from its arguments to its exit
code. Tests of what is imported, of signals and of terminals start the command as anybody does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parents[1]
_PATIENCE = 300  # seconds that one command has
_STREAMS = ("stdin", "stdout", "stderr")
_prepared: list[subprocess.Popen[str]] = []


def run_command(
    *arguments: str | Path,
    given: bytes = b"",
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `qwen3-rerank` with arguments, and return its exit code and what it printed, as UTF-8.

    Args:
        given: What it reads from standard input.
        cwd: The folder that it runs in.
        environment: All of its variables; those of this process, if there are none.
    """
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.TemporaryDirectory() as name:
        files = {stream: Path(name, stream) for stream in _STREAMS}
        files["stdin"].write_bytes(given)
        asked: dict[str, Any] = {
            "arguments": list(map(str, arguments)),
            "cwd": str(cwd or Path.cwd()),
            "environment": environment or dict(os.environ),
            "files": {stream: str(path) for stream, path in files.items()},
        }
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        out, err = (files[stream].read_text("utf-8") for stream in ("stdout", "stderr"))
    return subprocess.CompletedProcess(asked["arguments"], code, out, err)


def _process() -> subprocess.Popen[str]:
    """Return the process that forks, started at the first call."""
    if not _prepared:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = os.environ | {
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": os.pathsep.join([str(_TESTS), str(_TESTS.parent)]),
            # Read when it is imported: the command sets it before that.
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        code = f"from {__name__} import serve; serve()"
        _prepared.append(subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes))
    return _prepared[0]


def end_prepared() -> None:
    """End the process that forks, if there is one."""
    while _prepared:
        with _prepared.pop() as process:
            assert process.stdin is not None
            process.stdin.close()


def serve() -> None:
    """Fork for every request, and run the command in the child, whose streams are files."""
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    import torch  # noqa: F401
    import transformers

    import shared_core.scorers.local.scorer  # noqa: F401

    for name in ("AutoConfig", "AutoTokenizer", "PreTrainedTokenizerFast", "Qwen3ForCausalLM"):
        getattr(transformers, name)
    while line := requests.readline():
        child = os.fork()
        if not child:
            requests.close()
            replies.close()
            _become(json.loads(line))
            from qwen3_rerank.cli import main

            sys.exit(main())
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), file=replies, flush=True)
    sys.exit()


def _become(asked: dict[str, Any]) -> None:
    signal.alarm(_PATIENCE)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, stream in enumerate(_STREAMS):
        flags = os.O_RDWR if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND
        opened = os.open(asked["files"][stream], flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["qwen3-rerank", *asked["arguments"]]
