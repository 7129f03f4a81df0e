"""The options of a batch, and the identity by which a folder recognises its job."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from qwen3_rerank.batch.columns import Columns
from shared_core.identity import shown
from shared_core.options import RankingOptions
from shared_core.reranker import Reranker

OutputKind = Literal["scores", "ranked"]
OutputFormat = Literal["parquet", "jsonl"]
Grouping = Literal["auto", "always", "never"]


class JobOptions(TypedDict, total=False):
    """The options of a batch, as `run_batch` documents them."""

    output: OutputKind
    format: OutputFormat
    top_k: int | None
    score_threshold: float | None
    min_probability: float | None
    min_docs: int
    columns: Columns | None
    block_rows: int | None
    group: Grouping


@dataclass(frozen=True, slots=True)
class Job:
    """One batch.

    Attributes:
        output, format, columns, block_rows, group: As for `run_batch`.
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
                "top_k, min_docs and thresholds are for ranked lists: give output='ranked'"
            )
        if self.ranking.min_probability is not None and not self.calibration:
            raise ValueError(
                f"min_probability={self.ranking.min_probability} needs a reranker with a "
                "calibration; without one, give score_threshold"
            )

    @classmethod
    def of(cls, out: str | os.PathLike[str], reranker: Reranker, options: JobOptions) -> Job:
        """Return the job of a reranker with some options.

        Raises:
            TypeError: There is no such option.
            ValueError: One is out of range, or the reranker hides errors.
        """
        unknown = options.keys() - JobOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"a batch has no option {', '.join(map(repr, sorted(unknown)))}")
        configured = reranker.options
        if configured.on_error != "raise":
            raise ValueError(
                "a batch needs a reranker with on_error='raise': rows that cannot be scored are "
                "put into the error file by themselves"
            )
        given: dict[str, Any] = {**options, "columns": options.get("columns") or Columns()}
        ranking = {name: given.pop(name) for name in RankingOptions.model_fields if name in given}
        return cls(
            Path(os.path.abspath(out)),
            **given,
            ranking=RankingOptions(**ranking),
            has_windows=configured.long_documents == "windows",
            calibration=_digest(configured.calibration) if configured.calibration else "",
        )

    def identity(self, reranker: Reranker) -> dict[str, Any]:
        """Return the options that define the job, without the input and without secrets.

        What scores is not among it: the process that does, perhaps on another machine, knows that.
        """
        model = reranker.options.model
        unused = {"fusion", "mmr", "max_candidates", "time_budget"}  # tables have no retriever
        if self.ranking.min_probability is None:  # older folders know nothing of it
            unused.add("min_probability")
        columns = {name: value for name, value in asdict(self.columns).items() if value is not None}
        return {
            "output": self.output,
            "format": self.format,
            "block_rows": self.block_rows,
            "group": self.group,
            "columns": columns,
            **({"folder of images": os.getcwd()} if self.columns.has_images else {}),
            **self.ranking.model_dump(exclude=unused),
            **({"calibration": self.calibration} if self.calibration else {}),
            "model": "a folder" if os.path.isdir(model) else model,
            "instruction": shown(reranker.options.instruction),
        }


def _digest(path: str) -> str:
    return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
