"""Documents from text and files: lines, paragraphs, JSON lines, CSV. Every bad line is named."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Format = Literal["txt", "jsonl", "csv"]
Split = Literal["lines", "paragraphs"]

FIELDS = ("document", "text", "content")
"""Where an object or a table holds the text, unless a name is given; the first that is there."""

_ENDINGS: Mapping[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_LONGEST_CELL = 100_000_000


class InputError(ValueError):
    """Input that cannot be read; the message names the line."""


@dataclass(frozen=True, slots=True)
class GivenDocument:
    """A document as it was read.

    Attributes:
        text: What is judged.
        given: What came: the text, or the whole object or row that holds it.
    """

    text: str
    given: Any


def format_of(name: str) -> Format:
    """Return what a file's name says: ``jsonl``, ``csv``, and ``txt`` for every other one.

    >>> format_of("a.CSV"), format_of("b.ndjson"), format_of("notes.md")
    ('csv', 'jsonl', 'txt')
    """
    return next((kind for end, kind in _ENDINGS.items() if name.lower().endswith(end)), "txt")


def split_text(text: str, split: Split = "lines") -> list[str]:
    r"""Return the documents in a text, without the blank space around them and without empty ones.

    >>> split_text("one\n\ntwo\r\n lines")
    ['one', 'two', 'lines']
    >>> split_text("one\n \ntwo\r\n lines\n", "paragraphs")
    ['one', 'two\n lines']
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    parts = text.split("\n") if split == "lines" else _BLANK_LINES.split(text)
    return [part.strip() for part in parts if part.strip()]


def decode(raw: bytes, name: str) -> str:
    """Return the text of UTF-8 bytes, without a byte-order mark.

    Raises:
        InputError: They are not UTF-8; the message names the line.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}, line {line}: not UTF-8 (save it as UTF-8)") from None


def parse_json(line: str) -> Any:
    """Return the value of one line of JSON, strictly.

    Raises:
        ValueError: It is not JSON; NaN is not, nor is what is nested too deeply to be read.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(line, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def document_of(value: Any, field: str | None = None) -> GivenDocument:
    """Return a JSON value as a document: a string, or an object with one of `FIELDS` or ``field``.

    Raises:
        ValueError: It is neither, or no UTF-8 could write the text.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict):
        names = FIELDS if field is None else (field,)
        name = next((name for name in names if name in value), None)
        if name is None:
            raise ValueError(
                f"no field {' or '.join(names)} (there are: {_listed(value)}); "
                "name the one that holds the text"
            )
        text = value[name]
        if not isinstance(text, str):
            raise ValueError(f"field {name} is not a string")
    else:
        raise ValueError(f"expected a string or an object, got {type(value).__name__}")
    check_text(text)
    return GivenDocument(text, value)


def check_text(text: str) -> None:
    """Raise ``ValueError`` for half a surrogate pair, which no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start + 1} is half a surrogate pair, which is no text"
        ) from None


def json_lines(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Yield line number and value of every line that is not blank.

    Raises:
        InputError: A line is not JSON.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, parse_json(line)
            except ValueError as error:
                raise InputError(f"{name}, line {number}: {error}") from None


def read_documents(
    raw: bytes,
    name: str,
    *,
    kind: Format | None = None,
    split: Split = "lines",
    field: str | None = None,
) -> list[GivenDocument]:
    """Return the documents in a file.

    Args:
        raw: Its bytes.
        name: Its name, for messages, and for its format where ``kind`` is not given.
        kind: ``"txt"``, ``"jsonl"`` (a string or an object per line) or ``"csv"``.
        split: How a text holds its documents.
        field: Where objects and tables hold the text; `FIELDS` by default.

    Raises:
        InputError: Something is wrong; the message names the line.
    """
    kind = kind or format_of(name)
    text = decode(raw, name)
    if kind == "txt":
        return [GivenDocument(part, part) for part in split_text(text, split)]
    if kind == "csv":
        return list(_csv_documents(text, name, field))
    return [
        _named(value, field, f"{name}, line {number}") for number, value in json_lines(text, name)
    ]


def _named(value: Any, field: str | None, where: str) -> GivenDocument:
    """Return `document_of`, with the place in the message if it fails."""
    try:
        return document_of(value, field)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _csv_documents(text: str, name: str, field: str | None) -> Iterator[GivenDocument]:
    """Yield a document per row; a first row without a known name is a document of its own."""
    before = csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: {error}") from None
    finally:
        csv.field_size_limit(before)
    if not rows:
        return
    header = [cell.strip() for cell in rows[0][1]]
    names = FIELDS if field is None else (field,)
    column = next((header.index(name) for name in names if name in header), None)
    if column is None and (len(header) > 1 or field is not None):
        raise InputError(
            f"{name}, line 1: no column {' or '.join(names)} (there are: {', '.join(header)}); "
            "name the one that holds the text"
        )
    for number, row in rows if column is None else rows[1:]:
        if len(row) != len(header):
            raise InputError(f"{name}, line {number}: {len(row)} cells, expected {len(header)}")
        cell = row[column or 0].strip()
        if cell:
            given = cell if len(header) == 1 else dict(zip(header, row, strict=True))
            yield GivenDocument(cell, given)


def _listed(value: Mapping[str, Any]) -> str:
    names = list(value)
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "none"
