"""Rows of a file of JSON lines, plain or compressed with gzip."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import Any

from qwen3_rerank.batch.columns import IdType, Shape
from qwen3_rerank.batch.errors import BatchInputError
from qwen3_rerank.batch.files import InputFile, opened
from qwen3_rerank.batch.rows import LinesDigest, Mark, RawRow, exactly
from qwen3_rerank.reading.text import parse_json

_BUFFER = 1 << 20


class JsonlRows:
    """Reads one file. A row is a line that is not blank; rows are numbered without blank lines.

    Args:
        file: The file. In a compressed one, rows that do not follow those read last are found by
            reading from its beginning.
    """

    largest_group = 0

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self._last: tuple[int, Any] | None = None
        self._digest = LinesDigest()

    def names(self) -> list[str]:
        """Return the fields of the first row that is an object."""
        for _, line in self._lines(self._stream(), 0):
            row = _row(0, line)
            if row.reason is None:
                return list(row.values)
        return []

    def check(self, shape: Shape) -> None:
        """Do nothing: every row has types of its own."""

    def count(self) -> int:
        return sum(1 for _ in self._lines(self._stream(), 0))

    def id_type(self, name: str) -> IdType:
        """Return text, which takes all: every row has types of its own."""
        del name
        return "text"

    def digest(self) -> str:
        """Return a digest of the lines that `marks` or `rows` yielded last."""
        return str(self._digest)

    def marks(self, shape: Shape, step: int) -> Iterator[Mark]:
        """Yield a mark at every row; a line that cannot be read is a query by itself."""
        del step
        count = 0
        self._digest = LinesDigest()
        for offset, line in self._lines(self._stream(), 0):
            self._digest.add(line)
            key = None
            if shape.layout == "pairs":
                key = _row(count, line).values.get(shape.key)
            key = key if isinstance(key, (str, int)) else None
            yield Mark(count, key, offset, line=line)
            count += 1
        yield Mark(count, None, ends=True)

    def rows(self, shape: Shape, start: int, count: int, offset: int) -> Iterator[RawRow]:
        """Yield rows from the ``start``-th on, which begins at byte ``offset``, uncompressed."""
        del shape
        if self._last is not None and self._last[0] == start:
            stream = self._last[1]
        else:
            stream = self._stream()
            stream.seek(offset)
        self._last = None
        self._digest = LinesDigest()
        yield from exactly(count, self._read(stream, start, offset), self.file.path, start)
        self._last = (start + count, stream)

    def _read(self, stream: Any, start: int, offset: int) -> Iterator[RawRow]:
        for number, (_, line) in enumerate(self._lines(stream, offset), start):
            self._digest.add(line)
            yield _row(number, line)

    def _stream(self) -> Any:
        stream = opened(self.file)
        if self.file.kind == "jsonl.gz":
            return io.BufferedReader(gzip.GzipFile(fileobj=stream), _BUFFER)
        return io.BufferedReader(stream, _BUFFER)

    def _lines(self, stream: Any, offset: int) -> Iterator[tuple[int, bytes]]:
        """Yield the place and the bytes of every line that is not blank."""
        try:
            while line := stream.readline():
                if not line.isspace():
                    yield offset, line
                offset += len(line)
        except (OSError, EOFError, zlib.error) as error:
            raise BatchInputError(
                f"{self.file.path} cannot be read after byte {offset}: {error}"
            ) from error


def _row(number: int, line: bytes) -> RawRow:
    try:
        value = parse_json(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return RawRow(number, {}, f"not UTF-8 at byte {error.start} of the line")
    except ValueError as error:
        return RawRow(number, {}, str(error))
    if not isinstance(value, dict):
        return RawRow(number, {}, f"expected an object, got {type(value).__name__}")
    return RawRow(number, value)
