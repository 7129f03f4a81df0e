"""Import times of the adapters, compared with those of their frameworks alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.bench.process import can_import
from benchmarks.bench.summary import spread

_BESIDE = {
    "langchain_core": {
        "import langchain_qwen3_rerank": "import langchain_core.documents",
        "from langchain_qwen3_rerank import Qwen3Rerank": (
            "from langchain_core.documents import BaseDocumentCompressor"
        ),
    },
    "llama_index": {
        "import llama_index_qwen3_rerank": "import llama_index.core.schema",
        "from llama_index_qwen3_rerank import Qwen3Rerank": (
            "from llama_index.core.postprocessor.types import BaseNodePostprocessor"
        ),
    },
}
_TIMED = "import time; a = time.perf_counter(); {}; print(time.perf_counter() - a)"


def import_times(repeats: int) -> dict[str, dict[str, Any]]:
    """Return the import time of each adapter and of its framework alone, and their ratio.

    Seconds in fresh interpreters, in turn, of the frameworks that are installed. Everything is
    compiled before, as it is in what pip installs; that goes to a folder of its own, so that it
    holds where nothing may be written beside the code.
    """
    found = {}
    with TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for framework, pairs in _BESIDE.items():
            if not can_import(sys.executable, framework):
                continue
            for ours, theirs in pairs.items():
                found[ours] = _compared(ours, theirs, repeats, environment)
    return found


def _compared(
    ours: str, theirs: str, repeats: int, environment: Mapping[str, str]
) -> dict[str, Any]:
    for statement in (ours, theirs):
        _seconds(statement, environment)  # compiles
    pairs = [(_seconds(ours, environment), _seconds(theirs, environment)) for _ in range(repeats)]
    return {
        "beside": theirs,
        "seconds": statistics.median(mine for mine, _ in pairs),
        "their_seconds": statistics.median(other for _, other in pairs),
        "ratio": spread([mine / other for mine, other in pairs]).model_dump(),
    }


def _seconds(statement: str, environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-c", _TIMED.format(statement)]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout)
