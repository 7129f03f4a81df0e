"""Input of `rank`: requests, one JSON object a line, or the documents of a single query."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen3_rerank.reading.contents import content_of, is_shaped
from qwen3_rerank.reading.document_files import (
    Fields,
    Format,
    GivenDocument,
    Split,
    document_of,
    read_documents,
)
from qwen3_rerank.reading.text import InputError, check_text, decode, parse_json
from shared_core import Content
from shared_core.images.content import has_images, text_of

STDIN = "-"
_LINES_AHEAD = 256
_FILE_CHUNK = 1 << 16
_FIELDS = Fields(shapes=True)


@dataclass(frozen=True, slots=True)
class RankJob:
    """One query with its documents.

    Attributes:
        where: The file and line, for messages.
        query, documents, instruction, top_k: As for `Reranker.rerank`; ``None`` if absent.
        given: The fields of the line but ``documents``; they are written out again.
    """

    where: str
    query: str | Content
    documents: Sequence[GivenDocument]
    instruction: str | None = None
    top_k: int | None = None
    given: dict[str, Any] = field(default_factory=dict)


def name_of(source: str) -> str:
    """Return the name of a source in messages."""
    return "standard input" if source == STDIN else source


def read_source(
    source: str, *, kind: Format | None, split: Split, fields: Fields
) -> list[GivenDocument]:
    """Return the documents of a file, or of standard input.

    Raises:
        InputError: A line is wrong; the message names it.
        OSError: The file cannot be read.
    """
    raw = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
    return read_documents(raw, name_of(source), kind=kind, split=split, fields=fields)


def parse_job(line: bytes, where: str, fields: Fields = _FIELDS) -> RankJob:
    """Return the request in a line ``{"query": …, "documents": […], "instruction"?, "top_k"?}``.

    Query and documents are texts, or contents with images.

    Raises:
        InputError: The line is not a request; the message begins with ``where``.
    """
    try:
        text = _decoded(line)
        value = parse_json(text)
        if not isinstance(value, dict):
            raise ValueError(f"expected an object with query and documents, got {_kind(value)}")
        missing = [name for name in ("query", "documents") if name not in value]
        if missing:
            raise ValueError(
                f"no {' and no '.join(missing)} (there are: {', '.join(value) or 'none'}); where "
                "every line is a document, give the query by --query"
            )
        return RankJob(
            where,
            _query(value, fields),
            _documents(value["documents"], fields),
            _instruction(value),
            _top_k(value),
            {name: content for name, content in value.items() if name != "documents"},
        )
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def read_jobs(sources: Sequence[str], fields: Fields) -> Iterator[RankJob | InputError]:
    """Yield a request, or what is wrong with it, for every line that is not blank."""
    for source in sources:
        for number, line in enumerate(_lines(source), 1):
            if line.strip():
                where = f"{name_of(source)}, line {number}"
                try:
                    yield parse_job(line, where, fields)
                except InputError as error:
                    yield error


def batches(sources: Sequence[str], fields: Fields, most: int) -> Iterator[list[Any]]:
    """Yield what `read_jobs` does, in lists of about ``most`` documents.

    A list ends early where the next line is not there yet, so that a program that writes a line
    and waits for its answer gets it.
    """
    waiting: queue.Queue[RankJob | InputError | OSError | None] = queue.Queue(_LINES_AHEAD)

    def read() -> None:
        try:
            for job in read_jobs(sources, fields):
                waiting.put(job)
        except OSError as error:
            waiting.put(error)
        waiting.put(None)

    threading.Thread(target=read, daemon=True, name="qwen3-rerank-input").start()
    ended = False
    while not ended:
        batch: list[Any] = []
        count = 0
        item = waiting.get()
        while True:
            if isinstance(item, OSError):
                raise item
            ended = item is None
            if item is None:
                break
            batch.append(item)
            count += len(item.documents) if isinstance(item, RankJob) else 0
            if count >= most:
                break
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                break
        if batch:
            yield batch


def count_lines(sources: Sequence[str]) -> int | None:
    """Return the number of lines to read; ``None`` if only reading could tell."""
    if any(source == STDIN or not Path(source).is_file() for source in sources):
        return None
    return sum(sum(1 for line in _lines(source) if line.strip()) for source in sources)


def _lines(source: str) -> Iterator[bytes]:
    """Yield lines as soon as they are there.

    Read by file descriptor: at its end Python waits for whoever holds the buffer of standard input.
    """
    descriptor = 0 if source == STDIN else os.open(source, os.O_RDONLY)
    parts: list[bytes] = []
    try:
        while chunk := os.read(descriptor, _FILE_CHUNK):
            *whole, rest = chunk.split(b"\n")
            for line in whole:
                yield b"".join([*parts, line])
                parts = []
            parts.append(rest)
        if last := b"".join(parts):
            yield last
    finally:
        if source != STDIN:
            os.close(descriptor)


def _decoded(line: bytes) -> str:
    try:
        return decode(line, "")
    except InputError:
        raise ValueError("not UTF-8") from None


def _query(value: dict[str, Any], fields: Fields) -> str | Content:
    query = value["query"]
    if isinstance(query, dict) and fields.image is not None and query.get(fields.image):
        return document_of(query, fields).judged
    if not is_shaped(query):
        return _string(value, "query")
    try:
        content = content_of(query)
    except ValueError as error:
        raise ValueError(f"query {error}") from None
    return content if has_images(content) else _string({"query": text_of(content)}, "query")


def _documents(value: Any, fields: Fields) -> list[GivenDocument]:
    if not isinstance(value, list):
        raise ValueError(f"documents is {_kind(value)}, expected a list")
    return [_document(item, fields, index) for index, item in enumerate(value)]


def _document(value: Any, fields: Fields, index: int) -> GivenDocument:
    try:
        return document_of(value, fields)
    except ValueError as error:
        raise ValueError(f"document {index}: {error}") from None


def _string(value: dict[str, Any], name: str) -> str:
    text = value[name]
    if not isinstance(text, str):
        raise ValueError(f"{name} is {_kind(text)}, expected a string")
    if name == "query" and not text.strip():
        raise ValueError("query is blank")
    try:
        check_text(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return text


def _instruction(value: dict[str, Any]) -> str | None:
    names = [name for name in ("instruction", "instruct") if value.get(name) is not None]
    if len(names) > 1:
        raise ValueError("instruction and instruct are two names for one thing: give one")
    return _string(value, names[0]) if names else None


def _top_k(value: dict[str, Any]) -> int | None:
    names = [name for name in ("top_k", "top_n") if value.get(name) is not None]
    if len(names) > 1:
        raise ValueError("top_k and top_n are two names for one thing: give one")
    if not names:
        return None
    top_k = value[names[0]]
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise ValueError(f"{names[0]} is {top_k!r:.40}, expected a whole number from 1")
    return top_k


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return kinds.get(type(value), "null" if value is None else "a number")
