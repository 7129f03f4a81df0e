"""Preparation of a job, new or restarted: its folder, and the blocks that are left to do."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qwen3_rerank.batch import datasets, grouping, manifest
from qwen3_rerank.batch.blocks import Block
from qwen3_rerank.batch.columns import Shape
from qwen3_rerank.batch.errors import BatchInputError, ChangedJobError
from qwen3_rerank.batch.files import InputFile, find_files
from qwen3_rerank.batch.job import Job
from qwen3_rerank.batch.output import Output
from qwen3_rerank.batch.parquet_rows import ParquetRows
from qwen3_rerank.batch.rows import RawRow
from qwen3_rerank.batch.source import Source
from qwen3_rerank.reading.folders import OutputFolder
from shared_core.reranker import Reranker

PAIRS_OF_A_BLOCK = 4096

Given = str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Any


@dataclass(slots=True)
class Prepared:
    """A job ready to run.

    Attributes:
        job: The job, with the number of the folder; without a number in a mere plan.
        done: The numbers of those that are done.
        is_grouped: Whether rows of a query were brought together on disk.
    """

    job: Job
    source: Source
    blocks: list[Block]
    done: set[int]
    is_grouped: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[Block]:
        """The blocks that are left to do."""
        return [block for block in self.blocks if block.number not in self.done]


def check(data: Given, job: Job, reranker: Reranker) -> None:
    """Raise what `prepare` would for a wrong input or folder, before anything is written.

    Raises:
        BatchInputError: The input cannot be read.
        ChangedJobError: The folder holds another job.
        FolderError: There are links in it.
    """
    before = manifest.begun(job.out)
    is_dataset = datasets.is_dataset(data)
    files = None if is_dataset else _files(data)
    if before is not None:
        found = None if files is None else manifest.files_json(files)
        manifest.check_same(before, job.identity(reranker), found)
    elif files is not None:
        Source(files, job.columns)


def prepare(
    data: Given, job: Job, reranker: Reranker, folder: OutputFolder | None = None
) -> Prepared:
    """Return the work to do, from the folder of the job or, if it is new, for it.

    Args:
        folder: The folder of the job; ``None`` writes nothing, and neither copies nor groups.

    Raises:
        BatchInputError: The input cannot be read.
        ChangedJobError: The folder holds another job.
    """
    identity = job.identity(reranker)
    before = manifest.begun(job.out)
    if before is not None:
        return _found(before, data, job, identity)
    is_copied = datasets.is_dataset(data)
    if is_copied:
        if folder is None:
            raise ValueError("a plan alone needs files: a dataset would have to be run for it")
        data = datasets.copy_dataset(data, folder)
    files = _files(data)
    source = Source(grouping.copied(files) if is_copied else files, job.columns)
    is_grouped = _is_to_be_grouped(source, job)
    inputs = [] if is_copied else source.files
    if is_grouped and folder is not None:
        source = grouping.grouped(source, folder)
        folder.remove_tree(datasets.FOLDER)
        is_copied = True
    blocks = source.blocks(_block_rows(source, job), cut=job.output == "scores")
    if folder is not None:
        begun = manifest.write(
            folder,
            identity=identity,
            source=source,
            files=inputs if is_copied else None,
            is_copy=is_copied,
            blocks=blocks,
        )
        job = replace(job, number=begun["job"])
        blocks = iter(manifest.read_blocks(folder, begun["blocks"]))
    notes = _notes(source, job, is_grouped)
    return Prepared(job, source, list(blocks), set(), is_grouped, notes)


def clean_up(folder: OutputFolder) -> None:
    """Remove the copy of the input, when all is done."""
    for name in (grouping.FOLDER, datasets.FOLDER):
        folder.remove_tree(name)


def _files(data: Given) -> list[InputFile]:
    return find_files([data] if isinstance(data, (str, os.PathLike)) else data)


def _found(before: dict[str, Any], data: Given, job: Job, identity: dict[str, Any]) -> Prepared:
    is_dataset = datasets.is_dataset(data)
    files = None if is_dataset else _files(data)
    manifest.check_same(before, identity, None if files is None else manifest.files_json(files))
    if is_dataset and before["files"]:
        raise ChangedJobError("the folder was begun with files, and is given a dataset")
    job = replace(job, number=before["job"])
    shape = Shape(**before["shape"])
    copy = before["copy"]
    if files is not None:
        files = _checked(files, before["files"], job, shape)
    if copy is not None:
        files = [InputFile(**file) for file in copy]
    source = Source(files or [], job.columns, shape)
    blocks = manifest.read_blocks(OutputFolder(job.out), before["blocks"])
    done = Output(job, shape).done()
    if copy is not None and len(done) < len(blocks):
        for file in source.files:
            if not Path(file.path).exists():
                raise ChangedJobError(f"{file.path}, a part of the copied input, is gone")
    is_grouped = copy is not None and f"/{grouping.FOLDER}/" in copy[0]["path"].replace("\\", "/")
    return Prepared(job, source, blocks, done, is_grouped)


def _checked(
    files: list[InputFile], before: list[dict[str, Any]], job: Job, shape: Shape
) -> list[InputFile]:
    """Return files with the digests that they had; those that were touched are read again.

    Raises:
        ChangedJobError: One has its size and time, and other content.
    """
    old = [InputFile(**file) for file in before]
    found = [replace(file, digest=was.digest) for file, was in zip(files, old, strict=True)]
    source = Source(found, job.columns, shape)
    for number, was in enumerate(old):
        now = found[number]
        is_untouched = (was.inode, was.touched) == (now.inode, now.touched) != (None, None)
        if was.digest is not None and not is_untouched:
            try:
                source.check_digest(number)
            except BatchInputError as error:
                raise ChangedJobError(str(error)) from error
    return found


def _is_to_be_grouped(source: Source, job: Job) -> bool:
    """Return whether rows have to be grouped by query.

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
    lengths = [len(_list_of(raw, source) or ()) for raw in _first_rows(source, 64)]
    mean = max(1, sum(lengths) // max(1, len(lengths)))
    return max(1, PAIRS_OF_A_BLOCK // mean)


def _first_rows(source: Source, count: int) -> list[RawRow]:
    """Return the first rows that hold a list."""
    reader = source.reader(0)
    there = min(count, reader.count())
    rows = reader.rows(source.shape, 0, there, 0)
    return [raw for raw in rows if isinstance(_list_of(raw, source), list)]


def _list_of(raw: RawRow, source: Source) -> Any:
    """Return what a row has for its list of documents."""
    return raw.values.get(source.shape.texts or "")


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
