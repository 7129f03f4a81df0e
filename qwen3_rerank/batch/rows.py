"""Conversion of rows to pairs. A row that cannot be scored is reported, never dropped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from qwen3_rerank.batch.columns import Shape
from qwen3_rerank.batch.errors import BatchInputError
from qwen3_rerank.reading.contents import images_in
from qwen3_rerank.reading.text import check_text
from shared_core.calibration import Calibration
from shared_core.images.content import Content
from shared_core.images.reading import is_path

Id = str | int | None
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two rows of a file.

    Attributes:
        row: The position, in the file, of the row behind it.
        key: The name of that row's query; ``None`` if it has none.
        offset: The position of that row, in bytes, for files without an index.
        ends: Whether there is no row behind it.
        line: The bytes of that row, in files of lines.
    """

    row: int
    key: Any
    offset: int = 0
    ends: bool = False
    line: bytes = b""


class LinesDigest:
    """A digest of lines, as text; empty where there were none."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=12)
        self._is_empty = True

    def add(self, line: bytes) -> None:
        """Add one line."""
        self._digest.update(line)
        self._is_empty = False

    def __str__(self) -> str:
        return "" if self._is_empty else self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A placeholder for a value that cannot be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it was read.

    Attributes:
        number: The position in its file, or in the input if the file is a copy.
        values: The values, by column.
        reason: Why there are none.
    """

    number: int
    values: dict[str, Any]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One query with one document.

    Attributes:
        row: The row's position in the whole input.
        index: The document's position in the row's list; 0 in a row of one document.
        query_id, document_id: The ids, if the input has any.
        query, document: What is judged.
    """

    row: int
    index: int
    query_id: Id
    query: str | Content
    document_id: Id
    document: str | Content


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair with its judgement; the query's text only where nothing else names the query."""

    row: int
    index: int
    query_id: Id
    query: str | None
    document_id: Id
    logit: float
    score: float
    n_tokens: int | None
    truncated: bool | None
    window: tuple[int, int] | None = None
    calibration: Calibration | None = None

    @property
    def probability(self) -> float | None:
        """The calibrated probability; ``None`` without a calibration."""
        return None if self.calibration is None else self.calibration.probability_of(self.logit)

    @property
    def window_start(self) -> int | None:
        """The first character of the best window; ``None`` where the document was judged whole."""
        return None if self.window is None else self.window[0]

    @property
    def window_end(self) -> int | None:
        """The character behind the best window, likewise."""
        return None if self.window is None else self.window[1]


@dataclass(frozen=True, slots=True)
class RowError:
    """A pair, or a whole row, that could not be scored.

    Attributes:
        row: The row's position in the whole input.
        index: The document's position in the row's list; ``None`` for the row as a whole.
        query_id, document_id: The ids, if they could be read.
        error: The kind of the error.
        reason: The reason.
    """

    row: int
    index: int | None
    query_id: Id
    document_id: Id
    error: str
    reason: str


def exactly(count: int, rows: Iterator[RawRow], path: str, start: int) -> Iterator[RawRow]:
    """Yield the next ``count`` rows of a file, which begin with its ``start``-th.

    Raises:
        BatchInputError: The file has fewer.
    """
    place = 0
    for row in islice(rows, count):
        yield row
        place += 1
    if place < count:
        raise BatchInputError(
            f"{path} ends after {start + place} rows, and had {start + count} at least when it was "
            "divided: it was cut off, or changed"
        )


class _WrongValueError(ValueError):
    """A value that cannot be used; the message says why."""


def pairs_of(raw: RawRow, row: int, shape: Shape) -> Iterator[Pair | RowError]:
    """Yield the pairs of a row, and an error in the place of each that cannot be scored.

    Args:
        raw: The row.
        row: The position in the whole input.
        shape: Which columns hold what.
    """
    query_id: Id = None
    try:
        if raw.reason is not None:
            raise _WrongValueError(raw.reason)
        if shape.query_id is not None:
            query_id = _id(raw.values.get(shape.query_id), shape.query_id)
        images = None if shape.query_images is None else raw.values.get(shape.query_images)
        query = _item(
            raw.values.get(shape.query), shape.query, images, shape.query_images, shape.folder
        )
        if isinstance(query, str) and not query.strip():
            raise _WrongValueError(f"{shape.query} is blank: there is nothing to judge against")
        documents = _lists(raw, shape)
    except _WrongValueError as error:
        yield RowError(row, None, query_id, None, "ValueError", str(error))
        return
    for index, (text, name, images) in enumerate(documents):
        document_id: Id = None
        try:
            if shape.ids is not None:
                document_id = _id(name, shape.ids)
            document = _item(text, shape.texts, images, shape.images, shape.folder)
            yield Pair(row, index, query_id, query, document_id, document)
        except _WrongValueError as error:
            at = index if shape.layout == "lists" else None
            yield RowError(row, at, query_id, document_id, "ValueError", str(error))


def _lists(raw: RawRow, shape: Shape) -> list[tuple[Any, Any, Any]]:
    """Return the text, the id and the images of every document of a row."""
    named = (shape.texts, shape.ids, shape.images)
    values = [None if name is None else raw.values.get(name) for name in named]
    if shape.layout == "pairs":
        text, name, images = values
        return [(text, name, images)]
    texts, ids, images = values
    if not isinstance(texts, list):
        raise _WrongValueError(f"{shape.texts} {_is(texts)}, expected a list of texts")
    if not texts:
        raise _WrongValueError(f"{shape.texts} is empty: there is nothing to score")
    for name, value, what in ((shape.ids, ids, "ids"), (shape.images, images, "images")):
        if name is not None and (not isinstance(value, list) or len(value) != len(texts)):
            found = f"has {len(value)} entries" if isinstance(value, list) else _is(value)
            raise _WrongValueError(f"{name} {found}, expected a list of {len(texts)} {what}")
    nothing = [None] * len(texts)
    return list(zip(texts, ids or nothing, images or nothing, strict=True))


def _item(
    text: Any, name: str | None, images: Any, image_name: str | None, folder: str
) -> str | Content:
    """Return a text, or a content with images, which then may be without a text."""
    if image_name is None:
        return _text(text, name or "")
    if isinstance(images, Unreadable):
        raise _WrongValueError(f"{image_name} {_is(images)}")
    try:
        found = images_in(images, image_name)
    except ValueError as error:
        raise _WrongValueError(str(error)) from None
    if not found:
        return _text(text, name or image_name)
    placed = [os.path.join(folder, one) if is_path(one) else one for one in found]
    return Content("" if text is None else _text(text, name or ""), placed)


def _id(value: Any, name: str) -> Id:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _WrongValueError(f"{name} {_is(value)}, expected a string or an integer")
    if isinstance(value, str):
        return _text(value, name)
    if not _SMALLEST <= value <= _LARGEST:
        raise _WrongValueError(f"{name} is an integer of more than 64 bits")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _WrongValueError(f"{name} {_is(value)}, expected text")
    try:
        check_text(value)
    except ValueError as error:
        raise _WrongValueError(f"{name}: {error}") from None
    return value


def _is(value: Any) -> str:
    if isinstance(value, Unreadable):
        return f"is {value.reason}"
    return "is null or missing" if value is None else f"is of type {type(value).__name__}"
