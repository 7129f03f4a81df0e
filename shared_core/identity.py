"""Identity of a reranker: everything that its scores depend on, to compare two jobs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared_core.digests import digest_of
from shared_core.options import TINY, RerankerOptions, about_options
from shared_core.ranking import sigmoid
from shared_core.scorers.local.checkpoints.adapter_config import ADAPTER_CONFIG
from shared_core.scorers.local.checkpoints.adapter_source import told_apart
from shared_core.scorers.local.checkpoints.hub import cached_file

if TYPE_CHECKING:
    from shared_core.reranker import Reranker
    from shared_core.scoring import Scorer

NOT_SCORES = frozenset(
    name for name, about in about_options(RerankerOptions).items() if not about.changes_scores
)
"""Options that say where, how fast and how patiently, and change no score but by rounding."""

_SERVER_ONLY = ("base_url", "dialect", "template", "tokenizer")
_FLOAT32_ROUNDING = 0.01
_SAME_SCORE = 2e-4


def identity(reranker: Reranker) -> dict[str, Any]:
    """Return everything that scores depend on, except the instruction, without secrets.

    Nothing is loaded and no server is asked. Of a model here: the backend, the dtype that "auto"
    stands for on this machine, and a digest of the model's files or the hub's commit. Of a server:
    its address, the model's name, and how it is spoken to. Of a scorer of one's own: its class.
    Options that are at their default are left out, so that a new option changes nothing.
    """
    return identity_of(reranker.options, reranker.custom_scorer)


def identity_of(options: RerankerOptions, scorer: Scorer | None) -> dict[str, Any]:
    """Return the `identity` of a reranker with these options and this scorer of one's own."""
    values = {
        name: shown(value)
        for name, value in options.model_dump(mode="python", exclude_defaults=True).items()
        if name not in NOT_SCORES and name not in ("instruction", "dtype", "backend")
    }
    values["model"] = options.model
    if scorer is not None:
        return values | {"backend": f"{type(scorer).__module__}.{type(scorer).__qualname__}"}
    values["backend"] = options.chosen_backend
    if options.is_remote:
        if not isinstance(options.dialect, str):
            dialect = type(options.dialect)
            values["dialect"] = f"{dialect.__module__}.{dialect.__qualname__}"
        if options.tokenizer is not None and os.path.exists(options.tokenizer):
            values["tokenizer"] = digest_of(Path(options.tokenizer))
        return values
    options = told_apart(options)
    values |= {"model": options.model, "dtype": _dtype(options), "files": _model_files(options)}
    if options.adapter is not None:
        values["adapter"] = _adapter_files(options)
    if os.path.isdir(options.model):
        values["model"] = "a folder"  # wherever it lies: its files are what counts
    return {name: value for name, value in values.items() if name not in _SERVER_ONLY}


def as_found(reranker: Reranker) -> dict[str, Any]:
    """Return what discovery finds out about a server; empty for other backends."""
    if reranker.custom_scorer is not None or not reranker.options.is_remote:
        return {}
    from shared_core.scorers.remote.dialects.base import trait
    from shared_core.scorers.remote.scorer import RemoteScorer

    scorer = reranker.scorer
    if not isinstance(scorer, RemoteScorer):
        return {}
    setup = scorer.load()
    return {
        "dialect": trait(setup.dialect, "name") or type(setup.dialect).__name__,
        "template": setup.template,
        "max_length": setup.max_length,
        "sends_ids": setup.sends_ids,
    }


def device_kind(reranker: Reranker) -> str | None:
    """Return the device type of a local model, ``None`` for other backends."""
    options = reranker.options
    if reranker.custom_scorer is not None or options.is_remote:
        return None
    if options.backend == "vllm":
        return options.device or "vllm"
    from shared_core.scorers.local.devices import choose_device

    return choose_device(options).type


def is_known(reranker: Reranker) -> bool:
    """Whether `identity` is complete before loading: a hub model must be on this disk."""
    options = reranker.options
    is_elsewhere = reranker.custom_scorer is not None or options.is_remote
    if is_elsewhere:
        return True
    options = told_apart(options)
    return _model_files(options) is not None and (
        options.adapter is None or _adapter_files(options) is not None
    )


def farthest_apart(before: Sequence[float], now: Sequence[float]) -> float:
    """Return the largest difference of two lists of margins of the same documents."""
    return max((abs(a - b) for a, b in zip(before, now, strict=True)), default=0.0)


def agree(
    facts: Mapping[str, Any],
    before: Sequence[float],
    now: Sequence[float],
    *,
    rounding: float = 0.25,
) -> bool:
    """Whether two lists of margins can come from the same model.

    Args:
        facts: The model's `identity`. A server may round probabilities: of one, scores agree that
            are equal to nearly four places.
        before, now: The margins of the same documents.
        rounding: The allowed difference of margins that were not computed in float32.
    """
    most = _FLOAT32_ROUNDING if facts.get("dtype") == "float32" else rounding
    is_remote = facts.get("backend") == "remote"
    return len(before) == len(now) and all(
        abs(a - b) <= most or (is_remote and abs(sigmoid(a) - sigmoid(b)) <= _SAME_SCORE)
        for a, b in zip(before, now, strict=True)
    )


def shown(value: Any) -> Any:
    """Return a plain value unchanged, else its type or digest, since it may hold a key."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if callable(value):
        return f"function {getattr(value, '__qualname__', type(value).__qualname__)}"
    if not isinstance(value, (dict, list, tuple)):
        return type(value).__qualname__
    text = json.dumps(value, sort_keys=True, default=lambda other: type(other).__qualname__)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}" if value else value


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for every difference of two identities."""

    def stated(values: Mapping[str, Any], name: str) -> str:
        return repr(values[name]) if name in values else "not set"

    return [
        f"{name} was {stated(before, name)} and is {stated(now, name)}"
        for name in sorted({*before, *now})
        if stated(before, name) != stated(now, name)
    ]


def _dtype(options: RerankerOptions) -> str:
    """Return the dtype of a local model."""
    if options.backend == "vllm":
        from shared_core.scorers.vllm.engine import engine_dtype

        return engine_dtype(options)
    from shared_core.scorers.local.devices import choose_device, dtype_of

    return str(dtype_of(options, choose_device(options))).removeprefix("torch.")


def _model_files(options: RerankerOptions) -> str | None:
    """Return the digest of a model's folder, or the commit of a downloaded hub model."""
    name = str(Path(__file__).parent / TINY) if options.model == TINY else options.model
    return _files(options, name, "config.json", options.revision)


def _adapter_files(options: RerankerOptions) -> str | None:
    """Return what `_model_files` does, of the adapter."""
    return _files(options, str(options.adapter), ADAPTER_CONFIG, options.adapter_revision)


def _files(options: RerankerOptions, name: str, file: str, revision: str | None) -> str | None:
    if os.path.isdir(name):
        return digest_of(Path(name))
    found = cached_file(options, name, file, revision)
    if found is None:
        return None
    folder = found.parent
    return digest_of(folder) if options.hub == "modelscope" else f"commit {folder.name}"
