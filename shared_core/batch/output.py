"""The files of a batch: what is done is what is there under its name.

::

    OUT/scores/part-000007.parquet   one file per block (``rankings/`` for ranked lists)
    OUT/errors/part-000007.jsonl     the rows of that block that could not be scored, if any
    OUT/manifest.json, blocks.jsonl  the job and its division, written once
    OUT/summary.json                 what the last run did
    OUT/.state/000007.json           counts of a block
    OUT/.lock, OUT/.tmp/             one driver at a time; files while they are incomplete

A block's errors and counts are written before its scores, whose appearance is the commit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared_core.batch.atomic import TEMPORARY, replacing
from shared_core.batch.columns import Shape
from shared_core.batch.job import Job
from shared_core.batch.rows import Judged, RowError
from shared_core.batch.writing import write_rankings, write_scores

_PART = re.compile(r"part-(\d{6,})\.(parquet|jsonl)")


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What became of a block.

    Attributes:
        number: Which block.
        rows: Rows of the input.
        pairs: Pairs that were scored.
        errors: Entries in the error file.
        tokens: Prompt tokens of all pairs, a query's prefix counted for each; ``None`` if unknown.
        truncated: Documents that lost their end.
        seconds: How long it took.
    """

    number: int
    rows: int
    pairs: int
    errors: int
    tokens: int | None
    truncated: int
    seconds: float


class Output:
    """Writes and finds the files of a job.

    Args:
        job: What is asked for.
        shape: What the input has.
    """

    def __init__(self, job: Job, shape: Shape) -> None:
        self._job = job
        self._shape = shape
        self.scratch = job.out / TEMPORARY
        self.folder = job.out / ("scores" if job.output == "scores" else "rankings")
        self._errors = job.out / "errors"
        self._state = job.out / ".state"

    def prepare(self) -> None:
        """Make the folders, and remove what a killed run left incomplete."""
        for folder in (self.scratch, self.folder, self._errors, self._state):
            folder.mkdir(parents=True, exist_ok=True)
        for left in self.scratch.iterdir():
            left.unlink(missing_ok=True)

    def part(self, number: int) -> Path:
        """Return the file of a block."""
        return self.folder / f"part-{number:06d}.{self._job.format}"

    def done(self) -> set[int]:
        """Return the numbers of the blocks that are done."""
        if not self.folder.is_dir():
            return set()
        found = (_PART.fullmatch(path.name) for path in self.folder.iterdir())
        return {int(match[1]) for match in found if match and match[2] == self._job.format}

    def commit(
        self, report: BlockReport, judged: Sequence[Judged], errors: Sequence[RowError]
    ) -> None:
        """Write a block; when this returns it is done, whatever happens."""
        named = self._errors / f"part-{report.number:06d}.jsonl"
        if errors:
            with replacing(named, self.scratch) as stream:
                stream.writelines(json_line(asdict(one)) for one in errors)
        else:
            named.unlink(missing_ok=True)  # of an attempt that failed otherwise
        with replacing(self._state / f"{report.number:06d}.json", self.scratch) as stream:
            stream.write(json_line(asdict(report)))
        write = write_scores if self._job.output == "scores" else write_rankings
        with replacing(self.part(report.number), self.scratch) as stream:
            write(stream, self._job, self._shape, judged)

    def reports(self, numbers: Sequence[int]) -> Iterator[BlockReport]:
        """Yield the counts of blocks that are done."""
        for number in numbers:
            yield BlockReport(**json.loads((self._state / f"{number:06d}.json").read_bytes()))

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of the job as a whole."""
        with replacing(self._job.out / name, self.scratch) as stream:
            stream.write(json.dumps(value, indent=2).encode() + b"\n")


def json_line(value: Any) -> bytes:
    """Return a line of JSON; what UTF-8 cannot write is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"
