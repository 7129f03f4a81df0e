"""The output files of a batch. A block is done when its file is there under its name.

::

    OUT/scores/part-000007.parquet   one file per block (``rankings/`` for ranked lists)
    OUT/errors/part-000007.jsonl     the rows of that block that could not be scored, if any
    OUT/manifest.json, blocks.jsonl  the job and its division, written once
    OUT/scoring.json                 what scores, and the margins that it gives known pairs
    OUT/summary.json                 what the last run that had something to do did
    OUT/.state/000007.json           counts of a block
    OUT/.lock, OUT/.tmp/             one driver at a time; files while they are incomplete

A block's errors and counts are written before its scores, whose appearance is the commit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qwen3_rerank.batch import manifest
from qwen3_rerank.batch.columns import Shape
from qwen3_rerank.batch.errors import BatchError, ChangedJobError
from qwen3_rerank.batch.job import Job
from qwen3_rerank.batch.rows import Judged, RowError
from qwen3_rerank.batch.writing import write_rankings, write_scores
from qwen3_rerank.reading.folders import OutputFolder
from qwen3_rerank.reading.text import json_line

TEMPORARY = manifest.TEMPORARY
_ERRORS = "errors"
_STATE = ".state"
_PART = re.compile(r"part-(\d{6,})\.(parquet|jsonl)")


@dataclass(frozen=True, slots=True)
class BlockReport:
    """The result of a block, in counts.

    Attributes:
        pairs: Pairs that were scored.
        tokens: Prompt tokens of all pairs, a query's prefix counted for each; ``None`` if unknown.
        truncated: Documents that lost their end.
    """

    number: int
    rows: int
    pairs: int
    errors: int
    tokens: int | None
    truncated: int
    seconds: float


class Output:
    """Writes and finds the files of a job."""

    def __init__(self, job: Job, shape: Shape) -> None:
        self._job = job
        self._shape = shape
        self._parts = "scores" if job.output == "scores" else "rankings"
        self._opened: dict[str, OutputFolder] = {}
        self._manifest: tuple[int, int, int] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": {}, "_manifest": None}

    def prepare(self) -> None:
        """Make the folders, and remove what a killed run left incomplete.

        Raises:
            FolderError: A link, or something else, is in the place of one of them.
        """
        for name in (TEMPORARY, self._parts, _ERRORS, _STATE):
            self._folder(name, create=True)
        scratch = self._folder(TEMPORARY)
        for left in scratch.names():
            scratch.remove(left)

    def done(self) -> set[int]:
        """Return the numbers of the blocks that are done."""
        try:
            names = self._folder(self._parts).names()
        except FileNotFoundError:
            return set()
        found = (_PART.fullmatch(name) for name in names)
        return {int(match[1]) for match in found if match and match[2] == self._job.format}

    def commit(
        self, report: BlockReport, judged: Sequence[Judged], errors: Sequence[RowError]
    ) -> None:
        """Write a block; it is done, and safe from a crash, when this returns.

        Raises:
            ChangedJobError: The folder was deleted, or another job was begun in it.
            OSError: There is no room; ``filename`` is the file.
        """
        self.check_same_job()
        scratch, folder = self._folder(TEMPORARY), self._folder(_ERRORS)
        try:
            named = f"part-{report.number:06d}.jsonl"
            if errors:
                with folder.replacing(named, scratch) as stream:
                    stream.writelines(json_line(asdict(error)) for error in errors)
            else:
                folder.remove(named)  # of an attempt that failed otherwise
            with self._folder(_STATE).replacing(f"{report.number:06d}.json", scratch) as stream:
                stream.write(json_line(asdict(report)))
            write = write_scores if self._job.output == "scores" else write_rankings
            part = f"part-{report.number:06d}.{self._job.format}"
            with self._folder(self._parts).replacing(part, scratch) as stream:
                write(stream, self._job, self._shape, judged)
                self.check_same_job()
        except FileNotFoundError:  # folders that were deleted while they are open take no files
            self.check_same_job()
            raise

    def check_same_job(self) -> None:
        """Raise unless the folder still holds the job that this one was made for.

        Raises:
            ChangedJobError: The folder was deleted, or another job was begun in it.
        """
        root = self._folder()
        status = root.status(manifest.NAME)
        seen = None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns)
        if seen is not None and seen == self._manifest and root.is_in_place():
            return
        found = manifest.begun_in(root) if root.is_in_place() else None
        if found is None or found.get("job") != self._job.number:
            raise ChangedJobError(
                f"{self._job.out} was deleted or holds another job by now: this one stops, and has "
                "written nothing there since"
            )
        self._manifest = seen

    def reports(self, numbers: Sequence[int]) -> Iterator[BlockReport]:
        """Yield the counts of blocks that are done.

        Raises:
            BatchError: The reports of a block are damaged or missing.
        """
        state = self._folder(_STATE)
        for number in numbers:
            name = f"{number:06d}.json"
            try:
                yield BlockReport(**json.loads(state.read(name) or b""))
            except (ValueError, TypeError):
                part = self._job.out / self._parts / f"part-{number:06d}.{self._job.format}"
                raise BatchError(
                    f"{state.path / name}, the counts of a block, is damaged or gone: delete "
                    f"{part}, and start again, which does that block again"
                ) from None

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file of the job; ``None`` if it is not there."""
        return self._folder().read(name)

    def write_json(self, name: str, value: Any) -> None:
        """Write a file of the job as a whole."""
        self.check_same_job()
        with self._folder().replacing(name, self._folder(TEMPORARY)) as stream:
            stream.write(json.dumps(value, indent=2).encode() + b"\n")

    def _folder(self, name: str = "", *, create: bool = False) -> OutputFolder:
        """Return the folder of the job, or one in it; it stays open."""
        if name not in self._opened:
            self._opened[name] = (
                self._folder().folder(name, create=create) if name else OutputFolder(self._job.out)
            )
        return self._opened[name]
