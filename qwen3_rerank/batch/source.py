"""An input as one sequence of rows, over all of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from qwen3_rerank.batch.blocks import Block, divide
from qwen3_rerank.batch.columns import Columns, IdType, Shape, shape_of
from qwen3_rerank.batch.errors import BatchInputError
from qwen3_rerank.batch.files import InputFile, current
from qwen3_rerank.batch.jsonl_rows import JsonlRows
from qwen3_rerank.batch.parquet_rows import ParquetRows
from qwen3_rerank.batch.rows import Mark, RawRow

ROW = "__row"
"""In a copy of the input, the position that a row had there."""
BAD = "__bad"
"""In a copy of the input, why a row could not be read there."""


class RowFile(Protocol):
    """One file of rows."""

    def names(self) -> list[str]:
        """Return the names of the columns."""

    def count(self) -> int:
        """Return the number of rows."""

    def check(self, shape: Shape) -> None:
        """Raise `BatchInputError` if the file cannot be of this shape."""

    def id_type(self, name: str) -> IdType:
        """Return the type of a column of ids, or of lists of ids, if it is certain."""

    def marks(self, shape: Shape, step: int) -> Iterator[Mark]:
        """Yield where queries begin, a mark in every ``step`` rows, and where the file ends."""

    def rows(self, shape: Shape, start: int, count: int, offset: int) -> Iterator[RawRow]:
        """Yield so many rows, from one on."""

    def digest(self) -> str | None:
        """Return a digest of what was read: of the rows last yielded, or of the file's footer."""


class Source:
    """Reads an input. Nothing is opened before it is needed, so that it can be pickled.

    Args:
        files: The files, in order.
        columns: The names of the columns.
        shape: Which of them there are; ``None`` looks at the files.

    Raises:
        BatchInputError: A file is not what its name says, or columns are missing.
    """

    def __init__(
        self, files: Sequence[InputFile], columns: Columns, shape: Shape | None = None
    ) -> None:
        self.files = list(files)
        self.columns = columns
        self._reader: tuple[int, RowFile] | None = None
        self._states = dict(enumerate(self.files))
        self.shape = self._find_shape() if shape is None else shape

    def __getstate__(self) -> dict[str, object]:
        # Elsewhere, the files may be copies: equal in size and content, and not in time.
        return {**self.__dict__, "_reader": None, "_states": {}}

    def reader(self, file: int) -> RowFile:
        """Return the reader of a file, and close the previous one."""
        if self._reader is None or self._reader[0] != file:
            source = self.files[file]
            reader: RowFile = ParquetRows(source) if source.kind == "parquet" else JsonlRows(source)
            self._reader = file, reader
            if source.kind == "parquet":
                self._compare(file, reader.digest())
            return reader
        return self._reader[1]

    def blocks(self, size: int, *, cut: bool) -> Iterator[Block]:
        """Yield the blocks of so many rows; see `divide`."""
        yield from divide(
            (self.marks(file, size) for file in range(len(self.files))), size, cut=cut
        )

    def marks(self, file: int, step: int) -> Iterator[Mark]:
        """Yield the marks of a file."""
        reader = self.reader(file)
        for mark in reader.marks(self.shape, step):
            if mark.ends:  # whoever divides asks for no more
                self._compare(file, reader.digest())
                self.check_unchanged(file)
            yield mark

    def rows(self, block: Block) -> Iterator[tuple[int, RawRow]]:
        """Yield every row of a block with its position in the whole input.

        Raises:
            BatchInputError: A file cannot be read, or was changed since it was divided.
        """
        for segment in block.segments:
            self.check_unchanged(segment.file)
            reader = self.reader(segment.file)
            for raw in reader.rows(self.shape, segment.start, segment.rows, segment.offset):
                if ROW in raw.values:
                    bad = raw.values.get(BAD)
                    yield raw.values[ROW], RawRow(raw.number, raw.values, bad)
                else:
                    yield segment.first + raw.number - segment.start, raw
            if segment.digest and reader.digest() != segment.digest:
                raise self._changed(segment.file, "its rows are not those that it was divided into")
            if self.files[segment.file].kind == "parquet":
                self._compare(segment.file, reader.digest())
            self.check_unchanged(segment.file)

    def check_unchanged(self, *numbers: int) -> None:
        """Raise if files, or all of them, are not in the state in which they were first seen.

        Raises:
            BatchInputError: Names the file and the difference.
        """
        for number in numbers or range(len(self.files)):
            file = self.files[number]
            now = current(file)
            before = self._states.setdefault(number, now)
            if now.size != file.size:
                raise self._changed(number, f"it had {file.size} bytes and has {now.size}")
            for name, what in (("changed", "it was written to"), ("inode", "it was replaced")):
                values = getattr(before, name), getattr(now, name)
                if None not in values and values[0] != values[1]:
                    raise self._changed(number, what)

    def check_digest(self, number: int) -> None:
        """Read a file, and raise unless it is the file that was divided.

        Raises:
            BatchInputError: The digest differs.
        """
        for _ in self.marks(number, 1 << 14):
            pass

    def _compare(self, number: int, digest: str | None) -> None:
        """Keep the digest of a file's first reading; raise if a later digest differs."""
        file = self.files[number]
        if digest is not None and file.digest not in (None, digest):
            raise self._changed(number, "it has the size and time that it had, but other rows")
        if digest is not None:
            self.files[number] = replace(file, digest=digest)

    def _changed(self, number: int, what: str) -> BatchInputError:
        return BatchInputError(
            f"{self.files[number].path} is not what it was when the job began: {what}. What is "
            "done is right. Put back the file as it was and start again, or give another folder."
        )

    def _find_shape(self) -> Shape:
        shape = None
        for number, file in enumerate(self.files):
            reader = self.reader(number)
            names = reader.names()
            if shape is None and names:
                shape = shape_of(names, self.columns, file.path)
            if shape is not None:
                reader.check(shape)
        if shape is None:
            shape = shape_of((), self.columns, self.files[0].path)
        query_id, ids = self._id_type(shape.query_id), self._id_type(shape.ids)
        return replace(
            shape,
            query_id=None if query_id == "null" else shape.query_id,
            ids=None if ids == "null" else shape.ids,
            query_id_type=query_id,
            id_type=ids,
        )

    def _id_type(self, name: str | None) -> IdType:
        """Return the one type of a column of ids in all files."""
        if name is None:
            return "text"
        found = {self.reader(number).id_type(name) for number in range(len(self.files))}
        if len(found) > 1:
            found.discard("null")
        return found.pop() if len(found) == 1 else "text"
