"""Contestants of a run: their settings, and whether they can run on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bench.process import can_import

RECIPE = "model card's recipe"
SENTENCE_TRANSFORMERS = "sentence-transformers"
VLLM = "vLLM"
OURS = "ours"
OURS_VLLM = "ours: vllm"

# vLLM's cache takes its memory at the start; 2 GiB hold 18,000 tokens of the 0.6B.
_VLLM_CACHE_GIB = "2"


@dataclass(frozen=True, slots=True)
class Contestant:
    """The kind, name and settings of one process of the benchmark.

    Attributes:
        kind: See `benchmarks.bench.worker.make_player`.
        settings: Its own; for ours, options of `Reranker`, and ``without``, see `OursPlayer`.
        variants: Settings that are tried in the same process; the best one counts, except that
            variants with a ``cache`` are figures of their own.
        absent: Why it cannot take part; empty if it can.
    """

    name: str
    kind: str
    python: str = sys.executable
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: Sequence[Mapping[str, Any]] = ({},)
    environment: Mapping[str, str] = field(default_factory=dict)
    absent: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether the contestant is this library."""
        return self.kind == "ours"

    @property
    def is_vllm(self) -> bool:
        """Whether vLLM computes the scores."""
        return self.kind == "vllm" or self.settings.get("backend") == "vllm"


def contestants(
    ours: Sequence[str],
    vllm_python: str | None,
    *,
    device: str,
    threads: int | None,
    batches: Sequence[int] = (),
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> list[Contestant]:
    """Return all contestants in a fixed order, those that cannot run included.

    Args:
        ours: More of ours, each ``NAME=option=value,…``.
        vllm_python: An interpreter that has vLLM; ``None`` looks for one.
        device: ``"cpu"`` or ``"cuda"``.
        threads: ``OMP_NUM_THREADS`` of all contestants; ``None`` leaves it as it is.
        batches: Batch sizes that the peers are tried with, instead of theirs.
        only: Names of those to keep, or, where nobody is called that, beginnings of names; empty
            keeps all.
        without: The same, for contestants to leave out.

    Raises:
        ValueError: One of ``ours`` is malformed, or no contestant has such a name.
    """
    environment = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    vllm_python, vllm_absent = _find_vllm(vllm_python)
    vllm_environment = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1", **environment}
    cached = ({"cache": "cold"}, {"cache": "warm"})
    if device == "cpu":
        # It would leave one core of every machine to its scheduler.
        vllm_environment |= {
            "VLLM_CPU_KVCACHE_SPACE": _VLLM_CACHE_GIB,
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        }
        # Its own default on a CPU, 128 tokens, would share nothing of most queries' prompts.
        settings: dict[str, Any] = {"block_size": 32}
    else:
        # It would take the whole device, where others have their weights.
        settings = {"gpu_memory_utilization": 0.25}
    has_peer = can_import(sys.executable, "sentence_transformers")
    everybody = [
        Contestant(
            RECIPE, "recipe", variants=_batches(batches or (1, 4, 16)), environment=environment
        ),
        Contestant(
            SENTENCE_TRANSFORMERS,
            "sentence-transformers",
            variants=_batches(batches or (1, 4, 16, 32)),
            environment=environment,
            absent="" if has_peer else "sentence-transformers is not installed",
        ),
        Contestant(
            VLLM,
            "vllm",
            python=vllm_python,
            settings=settings,
            variants=cached,
            environment=vllm_environment,
            absent=vllm_absent,
        ),
        Contestant(OURS, "ours", environment=environment),
        Contestant(
            OURS_VLLM,
            "ours",
            python=vllm_python,
            settings={"backend": "vllm"} | ({} if device == "cpu" else {"engine_args": settings}),
            variants=cached,
            environment=vllm_environment,
            absent=vllm_absent,
        ),
    ]
    everybody += [_more_of_ours(contestant, environment) for contestant in ours]
    names = [contestant.name for contestant in everybody]
    chosen = _matching(only, names) if only else set(names)
    chosen -= _matching(without, names)
    return [contestant for contestant in everybody if contestant.name in chosen]


def _batches(sizes: Sequence[int]) -> list[dict[str, int]]:
    return [{"batch": size} for size in sizes]


def _matching(prefixes: Sequence[str], names: Sequence[str]) -> set[str]:
    """Return the names that equal a prefix, or else begin with it."""
    found: set[str] = set()
    for prefix in prefixes:
        exact = {name for name in names if name == prefix}
        fitting = exact or {name for name in names if name.lower().startswith(prefix.lower())}
        if not fitting:
            raise ValueError(f"no contestant is called {prefix!r}: there are {', '.join(names)}")
        found |= fitting
    return found


def _more_of_ours(text: str, environment: Mapping[str, str]) -> Contestant:
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise ValueError(f"expected NAME=option=value,…, not {text!r}")
    settings: dict[str, Any] = {}
    for pair in rest.split(","):
        option, equals, value = pair.partition("=")
        if not (option and equals):
            raise ValueError(f"expected option=value, not {pair!r}, in {text!r}")
        settings[option.strip()] = _value(value.strip())
    return Contestant(f"ours: {name}", "ours", settings=settings, environment=environment)


def _value(text: str) -> Any:
    """Return a text as the number, boolean or null that it spells, else unchanged."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _find_vllm(python: str | None) -> tuple[str, str]:
    """Return the interpreter that has vLLM, or the reason why there is none."""
    if python is None:
        beside = Path(".venv-vllm/bin/python")
        python = str(beside.absolute()) if beside.exists() else sys.executable
    elif not Path(python).exists():
        return python, f"there is no {python}"
    return python, "" if can_import(python, "vllm") else "vLLM is not installed"
