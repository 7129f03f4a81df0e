"""What is asked for, and how to tell whether a folder holds that very job."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from shared_core.batch.columns import Columns
from shared_core.options import RankingOptions, RerankerOptions
from shared_core.reranker import Reranker

OutputKind = Literal["scores", "ranked"]
OutputFormat = Literal["parquet", "jsonl"]
Grouping = Literal["auto", "always", "never"]

# Options that say where and how fast, not what: they may differ after a restart.
_OPERATIONAL = (
    "api_key",
    "base_url",
    "cache_dir",
    "cache_size",
    "connect_timeout",
    "device",
    "headers",
    "hub",
    "local_files_only",
    "max_batch_tokens",
    "max_concurrency",
    "max_retries",
    "on_error",
    "requests_per_second",
    "show_progress",
    "timeout",
    "total_timeout",
)


@dataclass(frozen=True, slots=True)
class Job:
    """One batch.

    Attributes:
        out: The folder for everything that is written.
        output: ``"scores"``, a score for every pair, or ``"ranked"``, a list for every query.
        format: ``"parquet"`` or ``"jsonl"``.
        ranking: What is kept of a ranked list.
        columns: The names of the input's columns.
        block_rows: Rows of a block; ``None`` chooses.
        group: Whether to bring the rows of a query together on disk first; ``"auto"`` does it
            where ranked lists need it.
        has_windows: Whether long documents are judged by windows, so that the best one is written.
    """

    out: Path
    output: OutputKind = "scores"
    format: OutputFormat = "parquet"
    ranking: RankingOptions = field(default_factory=RankingOptions)
    columns: Columns = field(default_factory=Columns)
    block_rows: int | None = None
    group: Grouping = "auto"
    has_windows: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("output", ("scores", "ranked")),
            ("format", ("parquet", "jsonl")),
            ("group", ("auto", "always", "never")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: expected one of {', '.join(allowed)}"
                )
        if self.block_rows is not None and self.block_rows < 1:
            raise ValueError(f"block_rows={self.block_rows}: expected 1 or more")
        if self.output == "scores" and self.ranking != RankingOptions():
            raise ValueError(
                "top_k, score_threshold and min_docs are for ranked lists: give output='ranked'"
            )

    def identity(self, reranker: Reranker) -> dict[str, Any]:
        """Return all that makes the output what it is, without the input and without a secret."""
        mine = {
            "output": self.output,
            "format": self.format,
            "block_rows": self.block_rows,
            "group": self.group,
            "columns": asdict(self.columns),
            **self.ranking.model_dump(),
        }
        return mine | reranker_identity(reranker)


def reranker_identity(reranker: Reranker) -> dict[str, Any]:
    """Return the options that change scores; what is no plain value is shown as a digest only."""
    options = reranker.options
    state = reranker.__getstate__()
    scorer = state["scorer"]
    found = {
        name: _shown(getattr(options, name))
        for name in RerankerOptions.model_fields
        if name not in _OPERATIONAL
    }
    if os.path.isdir(options.model):
        found["model"] = os.path.abspath(options.model)
    return found | {"scorer": None if scorer is None else type(scorer).__qualname__}


def _shown(value: Any) -> Any:
    """Return a plain value as it is, and of anything else a digest, since it may hold a key."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if callable(value):
        return f"function {getattr(value, '__qualname__', type(value).__qualname__)}"
    if not isinstance(value, (dict, list, tuple)):
        return type(value).__qualname__
    text = json.dumps(value, sort_keys=True, default=lambda other: type(other).__qualname__)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}" if value else value
