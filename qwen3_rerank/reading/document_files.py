"""Documents from text and files: lines, paragraphs, JSON lines, tables. Every bad line is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from qwen3_rerank.reading.contents import content_of, images_in, is_shaped
from qwen3_rerank.reading.tables import Row, column_of, csv_rows, workbook_rows
from qwen3_rerank.reading.text import InputError, check_text, decode_any, json_lines
from shared_core.images.content import Content, ImageSource, text_of

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
        images: Its images.
    """

    text: str
    given: Any
    images: Sequence[ImageSource] = ()

    @property
    def judged(self) -> str | Content:
        """What a reranker is given."""
        return Content(self.text, self.images) if self.images else self.text


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


@dataclass(frozen=True, slots=True)
class Fields:
    """Where objects and tables hold what is judged.

    Attributes:
        text: The field or column of texts; `FIELDS` by default.
        image: The field or column of images, by path or address; ``None`` if there is none.
        shapes: Whether objects may be contents with images by their shape: ``{"image": …}``,
            ``{"content": [parts]}`` or ``[parts]``. Such images are read from this machine.
    """

    text: str | None = None
    image: str | None = None
    shapes: bool = False

    @property
    def names(self) -> Sequence[str]:
        """The names of fields that may hold the text."""
        return FIELDS if self.text is None else (self.text,)

    @property
    def columns(self) -> Sequence[str]:
        """The names of columns that are looked for in tables."""
        return self.names if self.image is None else (*self.names, self.image)

    def images_of(self, value: Mapping[str, Any]) -> Sequence[ImageSource]:
        """Return the images of an object or a row.

        Raises:
            InputError: The field holds something else.
        """
        if self.image is None:
            return ()
        try:
            return images_in(value.get(self.image), f"field {self.image}")
        except ValueError as error:
            raise InputError(str(error)) from None


_FIELDS = Fields()


def document_of(value: Any, fields: Fields = _FIELDS) -> GivenDocument:
    """Return a JSON value as a document: a string, or an object with a text, with images, or both.

    Raises:
        InputError: The value is neither, or the text cannot be written in UTF-8.
    """
    images: Sequence[ImageSource] = ()
    if isinstance(value, str):
        text = value
    elif fields.shapes and is_shaped(value) and _text_field(value, fields) is None:
        try:
            content = content_of(value)
        except ValueError as error:
            raise InputError(str(error)) from None
        text, images = text_of(content), content.images if isinstance(content, Content) else ()
    elif isinstance(value, dict):
        images, name = fields.images_of(value), _text_field(value, fields)
        if name is None and not images:
            there = _listed(value)
            raise InputError(
                f"no field {' or '.join(fields.names)} (there are: {there}); "
                "name the one that holds the text",
                "field",
                there=there,
            )
        text = "" if name is None else value[name]
        if not isinstance(text, str):
            raise InputError(f"field {name} is not a string", "not_string", field=name)
    else:
        kind = type(value).__name__
        raise InputError(f"expected a string or an object, got {kind}", "kind")
    check_text(text)
    return GivenDocument(text, value, images)


def _text_field(value: Any, fields: Fields) -> str | None:
    """Return the field of an object that holds its text; a list of parts is none."""
    if not isinstance(value, dict):
        return None
    there = (name for name in fields.names if name in value)
    return next((name for name in there if not isinstance(value[name], list)), None)


def read_documents(
    raw: bytes,
    name: str,
    *,
    kind: Format | None = None,
    split: Split = "lines",
    fields: Fields = _FIELDS,
) -> list[GivenDocument]:
    """Return the documents in a file.

    Args:
        name: The name of the file, for messages, and for its format if ``kind`` is not given.
        kind: ``"txt"``, ``"jsonl"`` (a string or an object per line), ``"csv"`` or ``"xlsx"``.
        split: How documents are separated in a text file.
        fields: The fields or columns that hold the text and the images.

    Raises:
        InputError: Something is wrong; the message names the line.
        MissingDependencyError: The file is a workbook, and openpyxl is not installed.
    """
    kind = kind or format_of(name)
    if kind == "xlsx":
        return _table_documents(workbook_rows(raw, name), name, fields)
    text = decode_any(raw, name)
    if kind == "txt":
        return [GivenDocument(part, part) for part in split_text(text, split)]
    if kind == "csv":
        return _table_documents(csv_rows(text, name, fields.columns), name, fields)
    return [_json_document(value, fields, name, line) for line, value in json_lines(text, name)]


def _json_document(value: Any, fields: Fields, name: str, line: int) -> GivenDocument:
    """Return `document_of`, with the place in the message if it fails."""
    try:
        return document_of(value, fields)
    except InputError as error:
        raise error.at(name, line) from None


def _table_documents(rows: Iterable[Row], name: str, fields: Fields) -> list[GivenDocument]:
    """Return a document per row; a first row without a known name is a document of its own."""
    coming = iter(rows)
    line, header = next(coming, (0, []))
    column = column_of(header, fields.names)
    image = None if fields.image is None else column_of(header, [fields.image])
    is_named = column is not None or image is not None
    if not is_named and (len(header) > 1 or (header and fields.names != FIELDS)):
        there = _listed(header)
        raise InputError(
            f"no column {' or '.join(fields.names)} (there are: {there}); "
            "name the one that holds the text",
            "column",
            there=there,
        ).at(name, line)
    if not is_named and header:
        coming = chain([(line, header)], coming)
        column = 0
    documents = []
    for line, row in coming:
        if len(row) != len(header):
            reason = f"{len(row)} cells, expected {len(header)}"
            raise InputError(reason, "cells", count=len(row), expected=len(header)).at(name, line)
        text = "" if column is None else row[column].strip()
        images = [] if image is None else [cell for cell in [row[image].strip()] if cell]
        if text or images:
            given = text if len(header) == 1 else dict(zip(header, row, strict=True))
            documents.append(GivenDocument(text, given or images[0], images))
    return documents


def _listed(names: Iterable[str]) -> str:
    """Return the first names, for a message."""
    first = list(names)
    return ", ".join(first[:8]) + (", …" if len(first) > 8 else "") if first else "none"
