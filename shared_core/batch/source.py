"""An input as one sequence of rows, over all of its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from shared_core.batch.blocks import Block, divide
from shared_core.batch.columns import Columns, Shape, shape_of
from shared_core.batch.files import InputFile
from shared_core.batch.jsonl_rows import JsonlRows
from shared_core.batch.parquet_rows import ParquetRows
from shared_core.batch.rows import Mark, RawRow

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

    def has_integers(self, name: str) -> bool:
        """Whether a column holds integers, or lists of them, for certain."""

    def marks(self, shape: Shape, step: int) -> Iterator[Mark]:
        """Yield where queries begin, a mark in every ``step`` rows, and where the file ends."""

    def rows(self, shape: Shape, start: int, count: int, offset: int) -> Iterator[RawRow]:
        """Yield so many rows, from one on."""


class Source:
    """Reads an input. Nothing is opened before it is needed, so that it can be pickled.

    Args:
        files: Its files, in order.
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
        self.shape = self._find_shape() if shape is None else shape

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_reader": None}

    def reader(self, file: int) -> RowFile:
        """Return what reads a file; the one before is closed."""
        if self._reader is None or self._reader[0] != file:
            given = self.files[file]
            reader: RowFile = ParquetRows(given) if given.kind == "parquet" else JsonlRows(given)
            self._reader = file, reader
            return reader
        return self._reader[1]

    def blocks(self, size: int, *, cut: bool) -> Iterator[Block]:
        """Yield the blocks of so many rows; see `divide`."""
        yield from divide(
            (self.marks(file, size) for file in range(len(self.files))), size, cut=cut
        )

    def marks(self, file: int, step: int) -> Iterator[Mark]:
        """Yield the marks of a file."""
        yield from self.reader(file).marks(self.shape, step)

    def rows(self, block: Block) -> Iterator[tuple[int, RawRow]]:
        """Yield every row of a block with its position in the whole input."""
        for segment in block.segments:
            reader = self.reader(segment.file)
            for raw in reader.rows(self.shape, segment.start, segment.rows, segment.offset):
                if ROW in raw.values:
                    bad = raw.values.get(BAD)
                    yield raw.values[ROW], RawRow(raw.number, raw.values, bad)
                else:
                    yield segment.first + raw.number - segment.start, raw

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
        return replace(
            shape,
            has_integer_query_ids=self._has_integers(shape.query_id),
            has_integer_ids=self._has_integers(shape.ids),
        )

    def _has_integers(self, name: str | None) -> bool:
        numbers = range(len(self.files))
        return name is not None and all(self.reader(one).has_integers(name) for one in numbers)
