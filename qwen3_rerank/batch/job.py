"""The options of a batch, and the identity by which a folder recognises its job."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from qwen3_rerank.batch.columns import Columns
from shared_core.identity import shown
from shared_core.options import RankingOptions
from shared_core.reranker import Reranker

OutputKind = Literal["scores", "ranked"]
OutputFormat = Literal["parquet", "jsonl"]
Grouping = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Job:
    """One batch.

    Attributes:
        out: The folder for everything that is written.
        output: ``"scores"``, a score for every pair, or ``"ranked"``, a list for every query.
        format: ``"parquet"`` or ``"jsonl"``.
        ranking: The options of ranked lists.
        columns: The names of the input's columns.
        block_rows: Rows of a block; ``None`` chooses.
        group: Whether to bring the rows of a query together on disk first; ``"auto"`` does it
            where ranked lists need it.
        has_windows: Whether long documents are judged by windows, so that the best one is written.
        calibration: The digest of the file by which scores get probabilities, which are written
            then; empty without one.
        number: Tells this job from every other one, also from one with the same options that is
            begun in its folder after that was deleted; empty before the folder is looked at.
    """

    out: Path
    output: OutputKind = "scores"
    format: OutputFormat = "parquet"
    ranking: RankingOptions = field(default_factory=RankingOptions)
    columns: Columns = field(default_factory=Columns)
    block_rows: int | None = None
    group: Grouping = "auto"
    has_windows: bool = False
    calibration: str = ""
    number: str = ""

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
        """Return the options that define the job, without the input and without secrets.

        What scores is not among it: the process that does, perhaps on another machine, knows that.
        """
        model = reranker.options.model
        columns = {name: value for name, value in asdict(self.columns).items() if value is not None}
        return {
            "output": self.output,
            "format": self.format,
            "block_rows": self.block_rows,
            "group": self.group,
            "columns": columns,
            **({"folder of images": os.getcwd()} if self.columns.has_images else {}),
            # Tables have no retriever.
            **self.ranking.model_dump(
                exclude={"fusion", "mmr", "max_candidates", "time_budget", "min_probability"}
            ),
            **({"calibration": self.calibration} if self.calibration else {}),
            "model": "a folder" if os.path.isdir(model) else model,
            "instruction": shown(reranker.options.instruction),
        }
