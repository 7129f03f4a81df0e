"""What is compared: a reranker with an instruction, and what its scores depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_core.options import Instruction, RerankerOptions
from shared_core.reranker import Reranker

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_READ_WHOLE = 64 * 2**20
_READ_ENDS = 2**20
# What changes how fast scores come, or which of them are kept, and not the scores.
_NOT_SCORES = {
    "instruction",
    "max_batch_tokens",
    "cache_dir",
    "cache_size",
    "connect_timeout",
    "local_files_only",
    "max_concurrency",
    "max_retries",
    "on_error",
    "requests_per_second",
    "return_window",
    "show_progress",
    "timeout",
    "total_timeout",
}


@dataclass(frozen=True)
class System:
    """One way of ranking.

    Attributes:
        letter: What plots call it.
        name: What tables call the reranker.
        reranker: It.
        instruction: Its instruction; ``None`` is the one that the reranker was made with.
    """

    letter: str
    name: str
    reranker: Reranker = field(repr=False)
    instruction: Instruction | None = None


def systems_of(
    rerankers: Reranker | Mapping[str, Reranker],
    instructions: Sequence[Instruction | None],
) -> list[System]:
    """Return every reranker with every instruction.

    Raises:
        ValueError: There is none, one twice, or more than 26.
    """
    named = {name_of(rerankers): rerankers} if isinstance(rerankers, Reranker) else dict(rerankers)
    if not named or not instructions:
        raise ValueError("nothing to evaluate: expected at least one reranker and one instruction")
    if len({str(one) for one in instructions}) < len(instructions):
        raise ValueError("an instruction is there twice: give each once")
    pairs = [(name, one, task) for name, one in named.items() for task in instructions]
    if len(pairs) > len(LETTERS):
        raise ValueError(f"{len(pairs)} systems to compare: {len(LETTERS)} is the most")
    return [
        System(letter, name, reranker, task)
        for letter, (name, reranker, task) in zip(LETTERS, pairs, strict=False)
    ]


def name_of(reranker: Reranker) -> str:
    """Return the model, and the server where one scores."""
    options = reranker.options
    scorer = _custom_scorer(reranker)
    if scorer is not None:
        return type(scorer).__name__
    where = options.base_url or (options.dialect if isinstance(options.dialect, str) else None)
    return f"{options.model} at {where}" if options.is_remote and where else options.model


def is_cached(reranker: Reranker) -> bool:
    """Whether `identity` can be known before the model is loaded."""
    options = reranker.options
    return (
        _custom_scorer(reranker) is not None
        or options.is_remote
        or Path(_folder(options)).is_dir()
        or _commit(options) is not None
    )


def identity(reranker: Reranker) -> dict[str, Any]:
    """Return what its scores depend on, as far as it can be known here; no secret is among it.

    Of a model here: the hub's commit or a hash of its files, the dtype and the kind of device. Of a
    server: its address, the model's name, and how it is spoken to. Of a scorer of one's own, its
    class.
    """
    options = reranker.options
    scorer = _custom_scorer(reranker)
    if scorer is not None:
        return {"scorer": f"{type(scorer).__module__}.{type(scorer).__qualname__}"}
    # What is at its default is left out, so that an option that is new changes no key.
    told = {
        name: value
        for name, value in options.model_dump(mode="python", exclude_defaults=True).items()
        if name not in _NOT_SCORES
    }
    told["model"] = options.model
    if not isinstance(options.dialect, str):
        told["dialect"] = _class(options)
    if options.is_remote:
        return {name: told[name] for name in told if name not in ("device", "dtype", "hub")}
    told["device"], told["dtype"] = _computes_in(options)
    folder = Path(_folder(options))
    told["files"] = _hash(folder) if folder.is_dir() else _commit(options)
    for name in ("base_url", "dialect", "template", "tokenizer"):
        told.pop(name, None)
    return told


def key_of(identity: Mapping[str, Any], instruction: str, query: str, texts: Sequence[str]) -> str:
    """Return a hash of all that the scores of one query depend on."""
    whole = json.dumps([identity, instruction, query, list(texts)], sort_keys=True, default=str)
    return hashlib.sha256(whole.encode()).hexdigest()


def _custom_scorer(reranker: Reranker) -> Any:
    return reranker.__getstate__()["scorer"]


def _class(options: RerankerOptions) -> str:
    return f"{type(options.dialect).__module__}.{type(options.dialect).__qualname__}"


def _folder(options: RerankerOptions) -> str:
    tiny = Path(__file__).parent.parent / "tiny"
    return str(tiny) if options.model == "tiny" else options.model


def _computes_in(options: RerankerOptions) -> tuple[str, str]:
    """Return the kind of device and the dtype that a model here is computed in."""
    if options.backend == "vllm":
        return options.device or "vllm", options.dtype
    from shared_core.scorers.devices import choose_device, dtype_of

    device = choose_device(options)
    return device.type, str(dtype_of(options, device)).removeprefix("torch.")


def _commit(options: RerankerOptions) -> str | None:
    """Return the commit of a hub model that is on this disk."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    try:
        found = try_to_load_from_cache(
            options.model, "config.json", cache_dir=options.cache_dir, revision=options.revision
        )
    except ValueError:  # not the name of a repository
        return None
    return Path(found).parent.name if isinstance(found, str) else None


def _hash(folder: Path) -> str:
    """Return a hash of a checkpoint's files: of large ones, their size and both ends."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".safetensors", ".json", ".bin", ".txt"):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as stream:
            if size <= _READ_WHOLE:
                digest.update(stream.read())
            else:
                digest.update(stream.read(_READ_ENDS))
                stream.seek(-_READ_ENDS, 2)
                digest.update(stream.read())
    return digest.hexdigest()
