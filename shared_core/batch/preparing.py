"""From an input and a folder to blocks that are left to do: begun here, or found there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_core.batch import datasets, grouping, manifest
from shared_core.batch.blocks import Block
from shared_core.batch.columns import Shape
from shared_core.batch.errors import ChangedJobError
from shared_core.batch.files import find_files
from shared_core.batch.job import Job
from shared_core.batch.output import Output
from shared_core.batch.parquet_rows import ParquetRows
from shared_core.batch.rows import RawRow
from shared_core.batch.source import Source
from shared_core.reranker import Reranker

PAIRS_OF_A_BLOCK = 4096

Given = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Any


@dataclass(slots=True)
class Prepared:
    """A job ready to run.

    Attributes:
        source: Where the rows are.
        blocks: All of them.
        done: The numbers of those that are done.
        is_grouped: Whether rows of a query were brought together on disk.
        notes: What whoever waits for it should know.
    """

    source: Source
    blocks: list[Block]
    done: set[int]
    is_grouped: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[Block]:
        """The blocks that are left to do."""
        return [block for block in self.blocks if block.number not in self.done]


def prepare(given: Given, job: Job, reranker: Reranker, *, writes: bool = True) -> Prepared:
    """Return what is to be done, as the folder has it or, if it is new, as it will.

    Args:
        given: Files, folders, patterns, or a Ray dataset.
        job: What is asked for.
        reranker: What will score.
        writes: Whether to begin the job on disk; else the input is neither copied nor grouped.

    Raises:
        BatchInputError: The input cannot be read.
        ChangedJobError: The folder holds another job.
    """
    identity = job.identity(reranker)
    before = manifest.begun(job.out)
    if before is not None:
        return _found(before, given, job, identity)
    copy = None
    is_copied = datasets.is_dataset(given)
    if is_copied:
        if not writes:
            raise ValueError("a plan alone needs files: a dataset would have to be run for it")
        given = datasets.copy_dataset(given, job.out)
    files = find_files([given] if isinstance(given, (str, os.PathLike)) else given)
    files_json = manifest.files_json(files)
    source = Source(files, job.columns)
    if is_copied:
        files_json, copy = [], files_json
    is_grouped = _is_to_be_grouped(source, job)
    if is_grouped and writes:
        source = grouping.grouped(source, job.out)
        copy = manifest.files_json(source.files)
        shutil.rmtree(job.out / datasets.FOLDER, ignore_errors=True)
    blocks = source.blocks(_block_rows(source, job), cut=job.output == "scores")
    if writes:
        manifest.write(
            job.out,
            identity=identity,
            files=files_json,
            copy=copy,
            shape=source.shape,
            blocks=blocks,
        )
        blocks = iter(manifest.read_blocks(job.out))
    return Prepared(source, list(blocks), set(), is_grouped, _notes(source, job, is_grouped))


def clean_up(job: Job) -> None:
    """Remove the copy of the input, when all is done."""
    for folder in (grouping.FOLDER, datasets.FOLDER):
        shutil.rmtree(job.out / folder, ignore_errors=True)


def _found(before: dict[str, Any], given: Given, job: Job, identity: dict[str, Any]) -> Prepared:
    is_dataset = datasets.is_dataset(given)
    found = None if is_dataset else manifest.files_json(find_files(given))
    manifest.check_same(before, identity, found)
    if is_dataset and before["files"]:
        raise ChangedJobError("the folder was begun with files, and is given a dataset")
    copy = before["copy"]
    files = grouping.copied(before["files"] if copy is None else copy)
    source = Source(files, job.columns, Shape(**before["shape"]))
    blocks = manifest.read_blocks(job.out)
    done = Output(job, source.shape).done()
    if copy is not None and len(done) < len(blocks):
        for file in files:
            if not Path(file.path).exists():
                raise ChangedJobError(f"{file.path}, a part of the copied input, is gone")
    is_grouped = copy is not None and f"/{grouping.FOLDER}/" in files[0].path.replace("\\", "/")
    return Prepared(source, blocks, done, is_grouped)


def _is_to_be_grouped(source: Source, job: Job) -> bool:
    """Whether rows have to be brought together.

    Raises:
        ValueError: They have to, and must not be.
    """
    if source.shape.layout == "lists" or job.group == "always":
        return source.shape.layout == "pairs"
    if job.output == "scores" or not grouping.is_scattered(source):
        return False
    if job.group == "never":
        raise ValueError(
            "rows of one query have others between them, or there are more than a million queries: "
            "a ranked list needs all rows of a query together. Leave out group='never' "
            "(--no-group), so that they are brought together on disk first, or sort the input by "
            f"{source.shape.key}"
        )
    return True


def _block_rows(source: Source, job: Job) -> int:
    """Return the rows of a block: as asked for, else for some thousand pairs."""
    if job.block_rows is not None:
        return job.block_rows
    if source.shape.layout == "pairs":
        return PAIRS_OF_A_BLOCK
    lengths = [len(raw.values.get(source.shape.texts) or ()) for raw in _first_rows(source, 64)]
    mean = max(1, sum(lengths) // max(1, len(lengths)))
    return max(1, PAIRS_OF_A_BLOCK // mean)


def _first_rows(source: Source, count: int) -> list[RawRow]:
    """Return the first rows that hold a list."""
    reader = source.reader(0)
    there = min(count, reader.count())
    rows = reader.rows(source.shape, 0, there, 0)
    return [raw for raw in rows if isinstance(raw.values.get(source.shape.texts), list)]


def _notes(source: Source, job: Job, is_grouped: bool) -> list[str]:
    notes = []
    if is_grouped:
        notes.append("rows of a query are brought together on disk first")
    size = _block_rows(source, job)
    largest = max(
        (ParquetRows(file).largest_group for file in source.files[:8] if file.kind == "parquet"),
        default=0,
    )
    if largest > 64 * size:
        notes.append(
            f"row groups have up to {largest:,} rows: a worker that jumps into one reads it from "
            "its beginning. Several workers are served better by row groups of 10,000 to 100,000"
        )
    if source.files and any(
        file.kind == "jsonl.gz" and file.size > 1 << 30 for file in source.files
    ):
        notes.append("a compressed file is read from its beginning to find a block: parquet is not")
    return notes
