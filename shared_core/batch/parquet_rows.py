"""Rows of a parquet file, read a few at a time whatever the size of its row groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared_core.batch.columns import Shape
from shared_core.batch.errors import BatchInputError
from shared_core.batch.files import InputFile, opened
from shared_core.batch.rows import Mark, RawRow, Unreadable

_ROWS_AT_ONCE = {"pairs": 512, "lists": 16}
_KEYS_AT_ONCE = 16384
_BUFFER = 1 << 20  # bytes of a column that are read at once, instead of a whole row group


class ParquetRows:
    """Reads one file. Rows that follow those read last are read on, not searched for again.

    Args:
        file: The file.
    """

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self._open: Any = None
        self._last: tuple[int, Iterator[RawRow]] | None = None

    @property
    def _parquet(self) -> Any:
        if self._open is None:
            try:
                # pre_buffer would read a whole row group ahead.
                self._open = pq.ParquetFile(
                    opened(self.file), buffer_size=_BUFFER, pre_buffer=False
                )
            except (pa.ArrowException, OSError) as error:
                raise BatchInputError(f"{self.file.path} is not a parquet file: {error}") from error
        return self._open

    def names(self) -> list[str]:
        """Return the names of the columns."""
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
        for name, expected, fits in (
            (shape.query, "text", _is_text),
            (shape.texts, "lists of text" if is_list else "text", _list_of(_is_text, is_list)),
            (shape.query_id, "text or integers", _is_id),
            (
                shape.ids,
                "lists of ids" if is_list else "text or integers",
                _list_of(_is_id, is_list),
            ),
        ):
            if name is not None and not fits(schema.field(name).type):
                raise BatchInputError(
                    f"{self.file.path}: column {name!r} is {schema.field(name).type}, expected "
                    f"{expected}"
                )

    def count(self) -> int:
        """Return the number of rows."""
        return int(self._parquet.metadata.num_rows)

    def has_integers(self, name: str) -> bool:
        """Whether a column holds integers, or lists of them."""
        kind = self._parquet.schema_arrow.field(name).type
        kind = getattr(kind, "value_type", None) or kind
        return bool(pa.types.is_integer(kind))

    def marks(self, shape: Shape, step: int) -> Iterator[Mark]:
        """Yield a mark where a query begins, and one in every ``step`` rows at least."""
        count = self._parquet.metadata.num_rows
        if shape.layout == "lists":
            yield from (Mark(row, None) for row in range(count))
        else:
            start = 0
            for batch in self._parquet.iter_batches(
                batch_size=min(step, _KEYS_AT_ONCE), columns=[shape.key]
            ):
                keys = _plain(batch.column(0))
                changes = pc.not_equal(keys.slice(1), keys.slice(0, max(0, len(keys) - 1)))
                changed = pc.indices_nonzero(pc.fill_null(changes, True)).to_pylist()
                for place in (0, *(one + 1 for one in changed)):
                    yield Mark(start + place, _value(keys[place]))
                start += len(keys)
        yield Mark(count, None, ends=True)

    def rows(self, shape: Shape, start: int, count: int, offset: int) -> Iterator[RawRow]:
        """Yield rows from the ``start``-th on; ``offset`` says nothing here."""
        del offset
        if self._last is None or self._last[0] != start:
            self._last = (start, self._from(shape, start))
        _, rows = self._last
        self._last = None
        for _ in range(count):
            yield next(rows)
        self._last = (start + count, rows)

    def _from(self, shape: Shape, start: int) -> Iterator[RawRow]:
        """Yield all rows from one on: from the beginning of its row group, for want of an index."""
        before = 0
        metadata = self._parquet.metadata
        for group in range(metadata.num_row_groups):
            size = metadata.row_group(group).num_rows
            if before + size > start:
                yield from self._group(shape, group, before, max(0, start - before))
            before += size

    def _group(self, shape: Shape, group: int, before: int, skipped: int) -> Iterator[RawRow]:
        place = 0
        for batch in self._parquet.iter_batches(
            batch_size=_ROWS_AT_ONCE[shape.layout], row_groups=[group], columns=shape.names
        ):
            if place + len(batch) > skipped:
                first = max(0, skipped - place)
                part = batch.slice(first)
                columns = {
                    name: _values(part.column(part.schema.get_field_index(name)))
                    for name in shape.names
                }
                for index in range(len(part)):
                    values = {name: column[index] for name, column in columns.items()}
                    yield RawRow(before + place + first + index, values)
            place += len(batch)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        check(kind)
        for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    ) or pa.types.is_null(kind)


def _is_id(kind: pa.DataType) -> bool:
    return _is_text(kind) or pa.types.is_integer(kind)


def _list_of(check: Any, is_list: bool) -> Any:
    if not is_list:
        return check
    return lambda kind: (
        pa.types.is_null(kind)
        or (
            any(
                is_kind(kind)
                for is_kind in (
                    pa.types.is_list,
                    pa.types.is_large_list,
                    pa.types.is_fixed_size_list,
                )
            )
            and check(kind.value_type)
        )
    )


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None


def _values(column: pa.Array) -> list[Any]:
    """Return Python values; what is no UTF-8, which parquet does not check, is marked."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_readable(scalar) for scalar in column]


def _readable(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return Unreadable(f"not UTF-8 at byte {error.start}")
