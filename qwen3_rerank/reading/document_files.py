"""Documents from text and files: lines, paragraphs, JSON lines, tables. Every bad line is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from qwen3_rerank.reading.tables import Row, column_of, csv_rows, workbook_rows
from qwen3_rerank.reading.text import InputError, check_text, decode_any, json_lines
from shared_core.images.content import Content

Format = Literal["txt", "jsonl", "csv", "xlsx"]
Split = Literal["lines", "paragraphs"]

FIELDS = ("document", "text", "content", "passage", "文档", "文本", "内容", "正文", "段落")
"""Where an object or a table holds the text, unless a name is given; the first that is there."""

_ENDINGS: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".xlsx": "xlsx",
}
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")


@dataclass(frozen=True, slots=True)
class GivenDocument:
    """A document as it was read.

    Attributes:
        text: The text to judge.
        given: The input as it was read: the text, or the whole object or row that holds it; or
            the path or URL of an image.
        is_image: Whether it is an image, without a text.
    """

    text: str
    given: Any
    is_image: bool = False

    @property
    def judged(self) -> str | Content:
        """What a reranker is given."""
        return Content(images=[self.given]) if self.is_image else self.text


def format_of(name: str) -> Format:
    """Return the format of a file by its name; other names are ``txt``.

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


def document_of(value: Any, field: str | None = None) -> GivenDocument:
    """Return a JSON value as a document: a string, or an object with one of `FIELDS` or ``field``.

    Raises:
        InputError: The value is neither, or the text cannot be written in UTF-8.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict):
        names = FIELDS if field is None else (field,)
        name = next((name for name in names if name in value), None)
        if name is None:
            there = _listed(value)
            raise InputError(
                f"no field {' or '.join(names)} (there are: {there}); "
                "name the one that holds the text",
                "field",
                there=there,
            )
        text = value[name]
        if not isinstance(text, str):
            raise InputError(f"field {name} is not a string", "not_string", field=name)
    else:
        kind = type(value).__name__
        raise InputError(f"expected a string or an object, got {kind}", "kind")
    check_text(text)
    return GivenDocument(text, value)


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
        raw: The bytes of the file.
        name: The name of the file, for messages, and for its format if ``kind`` is not given.
        kind: ``"txt"``, ``"jsonl"`` (a string or an object per line), ``"csv"`` or ``"xlsx"``.
        split: How documents are separated in a text file.
        field: The field or column that holds the text; `FIELDS` by default.

    Raises:
        InputError: Something is wrong; the message names the line.
        MissingDependencyError: The file is a workbook, and openpyxl is not installed.
    """
    kind = kind or format_of(name)
    names = FIELDS if field is None else (field,)
    if kind == "xlsx":
        return _table_documents(workbook_rows(raw, name), name, names)
    text = decode_any(raw, name)
    if kind == "txt":
        return [GivenDocument(part, part) for part in split_text(text, split)]
    if kind == "csv":
        return _table_documents(csv_rows(text, name, names), name, names)
    return [_json_document(value, field, name, line) for line, value in json_lines(text, name)]


def _json_document(value: Any, field: str | None, name: str, line: int) -> GivenDocument:
    """Return `document_of`, with the place in the message if it fails."""
    try:
        return document_of(value, field)
    except InputError as error:
        raise error.at(name, line) from None


def _table_documents(rows: Iterable[Row], name: str, names: Sequence[str]) -> list[GivenDocument]:
    """Return a document per row; a first row without a known name is a document of its own."""
    coming = iter(rows)
    line, header = next(coming, (0, []))
    column = column_of(header, names)
    if column is None and (len(header) > 1 or (header and names != FIELDS)):
        there = _listed(header)
        raise InputError(
            f"no column {' or '.join(names)} (there are: {there}); "
            "name the one that holds the text",
            "column",
            there=there,
        ).at(name, line)
    if column is None and header:
        coming = chain([(line, header)], coming)
    documents = []
    for line, row in coming:
        if len(row) != len(header):
            reason = f"{len(row)} cells, expected {len(header)}"
            raise InputError(reason, "cells", count=len(row), expected=len(header)).at(name, line)
        cell = row[column or 0].strip()
        if cell:
            given = cell if len(header) == 1 else dict(zip(header, row, strict=True))
            documents.append(GivenDocument(cell, given))
    return documents


def _listed(names: Iterable[str]) -> str:
    """Return the first names, for a message."""
    first = list(names)
    return ", ".join(first[:8]) + (", …" if len(first) > 8 else "") if first else "none"
