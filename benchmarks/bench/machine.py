"""Description of the machine and the package versions of a run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = (
    "qwen3-rerank",
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "numpy",
)


def machine() -> dict[str, Any]:
    """Return the properties of the machine that figures depend on, without host or user name."""
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "logical_cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }
    accelerator = _accelerator()
    if accelerator:
        facts["accelerator"] = accelerator
    return facts


def versions() -> dict[str, str]:
    """Return the versions of the measured packages that are installed."""
    return {package: found for package in _PACKAGES if (found := _version(package))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    if sys.platform == "linux":
        text = Path("/proc/cpuinfo").read_text("utf-8")
        facts = {
            key.strip(): value.strip()
            for key, _, value in (
                line.partition(":") for line in text.split("\n\n", 1)[0].splitlines()
            )
        }
        name = facts.get("model name", platform.machine())
        flags = set(facts.get("flags", "").split())
        shown = sorted(
            flags & {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
        )
        return f"{name} ({', '.join(shown)})" if shown else name
    return platform.processor() or platform.machine()


def _accelerator() -> str:
    try:
        command = [
            "nvidia-smi",
            "--query-gpu=name,driver_version,memory.total",
            "--format=csv,noheader",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(done.stdout.strip().splitlines()) if done.returncode == 0 else ""
