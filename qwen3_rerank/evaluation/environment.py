"""Versions and options that a report records. Secrets are left out."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "qwen3-rerank",
    "ir-measures",
    "bm25s",
    "numpy",
    "scipy",
    "matplotlib",
    "torch",
    "transformers",
    "vllm",
    "httpx",
)
_SECRET = {"--api-key", "--header"}
_PLACE = {"--out", "-o"}


def environment() -> dict[str, str]:
    """Return the versions of what is installed, and the kind of machine."""
    versions = {name: _version(name) for name in PACKAGES}
    return {
        "python": platform.python_version(),
        **{name: found for name, found in versions.items() if found is not None},
        "system": f"{platform.system()} {platform.machine()}",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def command_line(arguments: Sequence[str]) -> str:
    """Return a command as it was typed, without keys and headers, and without where it wrote.

    >>> command_line(["evaluate", "data", "--api-key", "sk-1", "--header=X: y", "--out", "a b"])
    'qwen3-rerank evaluate data --api-key … --header=… --out OUT'
    """
    shown = []
    hides: str | None = None
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hides is not None:
            shown.append(hides)
            hides = None
        elif name in _SECRET | _PLACE:
            hidden = "…" if name in _SECRET else "OUT"
            hides = None if equals else hidden
            shown.append(f"{name}={hidden}" if equals else name)
        elif argument.startswith("-o") and len(argument) > 2:
            shown.append("-oOUT")
        else:
            shown.append(shlex.quote(argument))
    return " ".join(["qwen3-rerank", *shown])


def typed() -> str:
    """Return the command that this process was started with."""
    return command_line(sys.argv[1:])
