"""Rows of a parquet file, read a few at a time whatever the size of its row groups."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qwen3_rerank.batch.columns import IdType, Shape
from qwen3_rerank.batch.errors import BatchInputError
from qwen3_rerank.batch.files import InputFile, opened
from qwen3_rerank.batch.rows import Mark, RawRow, Unreadable, exactly

_ROWS_AT_ONCE = {"pairs": 512, "lists": 16}
_KEYS_AT_ONCE = 16384
_BUFFER = 1 << 20  # bytes of a column that are read at once, instead of a whole row group


class ParquetRows:
    """Reads one file. Rows that follow those read last are read on, not searched for again."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self._open: Any = None
        self._last: tuple[int, Iterator[RawRow]] | None = None

    @property
    def _parquet(self) -> Any:
        if self._open is None:
            with self._naming("its footer"):
                # pre_buffer would read a whole row group ahead.
                self._open = pq.ParquetFile(
                    opened(self.file), buffer_size=_BUFFER, pre_buffer=False
                )
        return self._open

    def names(self) -> list[str]:
        return list(self._parquet.schema_arrow.names)

    @property
    def largest_group(self) -> int:
        """The most rows in one row group."""
        metadata = self._parquet.metadata
        groups = range(metadata.num_row_groups)
        return max((metadata.row_group(number).num_rows for number in groups), default=0)

    def check(self, shape: Shape) -> None:
        """Raise `BatchInputError` for a column whose type no row of it could have rightly."""
        schema = self._parquet.schema_arrow
        missing = [name for name in shape.names if name not in schema.names]
        if missing:
            raise BatchInputError(f"{self.file.path} has no column {missing[0]!r}, as others have")
        is_list = shape.layout == "lists"
        text, ids = ("lists of text", "lists of ids") if is_list else ("text", "text or integers")
        for name, expected, allowed, of_list in (
            (shape.query, "text", _TEXTS, False),
            (shape.texts, text, _TEXTS, is_list),
            (shape.query_id, "text or integers", _IDS, False),
            (shape.ids, ids, _IDS, is_list),
            *((name, "images", _IMAGES, None) for name in (shape.images, shape.query_images)),
        ):
            if name is None:
                continue
            kind = schema.field(name).type
            if not _fits(kind, allowed, is_list=of_list):
                raise BatchInputError(
                    f"{self.file.path}: column {name!r} is {kind}, expected {expected}"
                )

    def count(self) -> int:
        return int(self._parquet.metadata.num_rows)

    def id_type(self, name: str) -> IdType:
        kind = _innermost(self._parquet.schema_arrow.field(name).type)
        if pa.types.is_null(kind):
            return "null"
        if kind == pa.uint64():
            return "uint64"
        return "int64" if pa.types.is_integer(kind) else "text"

    def digest(self) -> str:
        """Return a digest of the footer, which has sizes, places and statistics of all columns."""
        with opened(self.file) as stream, self._naming("its footer"):
            size = stream.size()
            stream.seek(max(0, size - 8))
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(max(0, size - 8 - length))
            return hashlib.blake2b(stream.read(), digest_size=12).hexdigest()

    def marks(self, shape: Shape, step: int) -> Iterator[Mark]:
        """Yield a mark where a query begins, and one in every ``step`` rows at least.

        Rows whose query cannot be read are queries by themselves.
        """
        count = self._parquet.metadata.num_rows
        if shape.layout == "lists":
            yield from (Mark(row, None) for row in range(count))
        else:
            start = 0
            for group, size in enumerate(self._group_sizes()):
                yield from self._marks_of_group(shape, group, start, size, step)
                start += size
        yield Mark(count, None, ends=True)

    def _marks_of_group(
        self, shape: Shape, group: int, start: int, size: int, step: int
    ) -> Iterator[Mark]:
        place = 0
        try:
            for batch in self._parquet.iter_batches(
                batch_size=min(step, _KEYS_AT_ONCE), row_groups=[group], columns=[shape.key]
            ):
                keys = _plain(batch.column(0))
                for at in (0, *_changes(keys)):
                    yield Mark(start + place + at, _as_json(_value(keys[at])))
                place += len(keys)
        except (pa.ArrowException, OSError) as error:
            self._raise_unless_damaged(error, group)
            yield from (Mark(start + row, None) for row in range(place, size))

    def _group_sizes(self) -> list[int]:
        metadata = self._parquet.metadata
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def rows(self, shape: Shape, start: int, count: int, offset: int) -> Iterator[RawRow]:
        """Yield rows from the ``start``-th on; ``offset`` says nothing here."""
        del offset
        if self._last is None or self._last[0] != start:
            self._last = (start, self._from(shape, start))
        _, rows = self._last
        self._last = None
        yield from exactly(count, rows, self.file.path, start)
        self._last = (start + count, rows)

    def _from(self, shape: Shape, start: int) -> Iterator[RawRow]:
        """Yield all rows from one on: from the beginning of its row group, for want of an index."""
        before = 0
        for group, size in enumerate(self._group_sizes()):
            if before + size > start:
                yield from self._group(shape, group, before, size, max(0, start - before))
            before += size

    def _group(
        self, shape: Shape, group: int, before: int, size: int, skipped: int
    ) -> Iterator[RawRow]:
        """Yield the rows of a row group; those from a damaged page on say so instead."""
        place = 0
        try:
            for batch in self._parquet.iter_batches(
                batch_size=_ROWS_AT_ONCE[shape.layout], row_groups=[group], columns=shape.names
            ):
                first = max(0, skipped - place)
                part = batch.slice(first)
                columns = {
                    name: _values(part.column(part.schema.get_field_index(name)))
                    for name in (shape.names if len(part) else ())
                }
                for index in range(len(part)):
                    values = {name: column[index] for name, column in columns.items()}
                    yield RawRow(before + place + first + index, values)
                place += len(batch)
        except (pa.ArrowException, OSError) as error:
            self._raise_unless_damaged(error, group)
            reason = (
                f"{self.file.path}, row group {group}, cannot be read from its row {place} on: "
                f"{_first_line(error)}"
            )
            for row in range(max(place, skipped), size):
                yield RawRow(before + row, {}, reason)

    def _raise_unless_damaged(self, error: Exception, group: int) -> None:
        """Raise an error of disk, network or memory, or of a codec that this pyarrow lacks.

        Raises:
            BatchInputError: Names the file and the row group.
        """
        is_damage = isinstance(error, pa.ArrowInvalid) or (
            isinstance(error, OSError) and error.errno is None
        )
        if not is_damage:
            raise BatchInputError(
                f"{self.file.path}, row group {group}, cannot be read: {_first_line(error)}"
            ) from error

    @contextlib.contextmanager
    def _naming(self, part: str) -> Iterator[None]:
        """Raise errors of pyarrow and the system as one that names the file."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise BatchInputError(
                f"{self.file.path} is not a parquet file, or {part} is damaged: "
                f"{_first_line(error)}"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
_IDS = (*_TEXTS, pa.types.is_integer, pa.types.is_decimal, pa.types.is_date)
_IMAGES = (*_TEXTS, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_struct)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def _fits(kind: pa.DataType, allowed: Sequence[Any], *, is_list: bool | None) -> bool:
    """Return whether a column has values of some types, or lists of them, or none at all.

    Args:
        is_list: Whether it has to be lists; ``None`` takes both, and lists of lists.
    """
    if is_list is None:
        kind = _innermost(kind)
    elif is_list and not pa.types.is_null(kind):
        if not any(check(kind) for check in _LISTS):
            return False
        kind = kind.value_type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(check(kind) for check in allowed)


def _innermost(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of lists and dictionaries."""
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    return kind


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _changes(keys: pa.Array) -> list[int]:
    """Return the places of values that differ from the one before, or are null."""
    try:
        changes = pc.not_equal(keys.slice(1), keys.slice(0, max(0, len(keys) - 1)))
    except pa.ArrowNotImplementedError:  # of nulls alone, and of some views
        values = [_value(column) for column in keys]
        return [n for n in range(1, len(values)) if values[n] is None or values[n] != values[n - 1]]
    found = pc.indices_nonzero(pc.fill_null(changes, True)).to_pylist()
    return [place + 1 for place in found]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None


def _values(column: pa.Array) -> list[Any]:
    """Return Python values; what is no UTF-8, which parquet does not check, is marked."""
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = [_readable(scalar) for scalar in column]
    return [_as_json(value) for value in values]


def _readable(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return Unreadable(f"not UTF-8 at byte {error.start}")


def _as_json(value: Any) -> Any:
    """Return what JSON has not as text, also in lists: decimals, dates, bytes of images."""
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):  # of bytes and a path, which is but a name beside them
        whole = {name: _as_json(item) for name, item in value.items() if item is not None}
        return whole.get("bytes", whole)
    if isinstance(value, bytes):
        return f"data:;base64,{base64.b64encode(value).decode('ascii')}"
    return str(value) if isinstance(value, (Decimal, date)) else value
