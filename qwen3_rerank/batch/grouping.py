"""Grouping of rows by query, on disk, for inputs larger than memory.

Two passes: rows are dealt out to files by a hash of their query, then each of those files, which
is small, is put in order. Within a query rows keep their order; a row keeps its position in the
input as a field, also one that could not be read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from qwen3_rerank.batch.blocks import Block, Segment
from qwen3_rerank.batch.files import InputFile, find_files
from qwen3_rerank.batch.rows import RawRow, Unreadable
from qwen3_rerank.batch.source import BAD, ROW, Source
from qwen3_rerank.reading.folders import OutputFolder, naming

FOLDER = ".grouped"
_PART_BYTES = 64 << 20  # of a file that is put in order in memory
_BUFFER_BYTES = 32 << 20  # of rows that wait to be written
_MOST_QUERIES = 1_000_000  # that are remembered, to see whether one comes back
_GROWTH = {"parquet": 5, "jsonl": 1, "jsonl.gz": 6}  # from a file's bytes to bytes of JSON, at most


def is_scattered(source: Source) -> bool:
    """Return whether rows of one query may have others between them."""
    seen: set[int] = set()
    last: Any = None
    for file in range(len(source.files)):
        for mark in source.marks(file, 1 << 14):
            if mark.ends or mark.key is None or mark.key == last:
                continue
            last = mark.key
            if hash(last) in seen or len(seen) >= _MOST_QUERIES:
                return True
            seen.add(hash(last))
    return False


def grouped(source: Source, out: OutputFolder, *, part_bytes: int = _PART_BYTES) -> Source:
    """Return a copy of an input in which the rows of a query lie together.

    Args:
        out: The folder of the job, which gets a folder for the copy; it takes about the room of
            the input, uncompressed, and twice that while it is made.
        part_bytes: Bytes that may be put in order at once.
    """
    out.remove_tree(FOLDER)
    folder = out.folder(FOLDER, create=True).path
    size = sum(file.size * _GROWTH[file.kind] for file in source.files)
    count = max(1, -(-size // part_bytes))
    dealt = folder / "dealt"
    dealt.mkdir()
    with naming(folder):
        _deal(source, dealt, count)
        for number in range(count):
            path = dealt / f"{number:06d}.rows"
            if path.exists():
                _put_in_order(path, folder / f"part-{number:06d}.jsonl", source.shape.key)
                path.unlink()
    dealt.rmdir()
    source.check_unchanged()
    return Source(copied(find_files(_parts(folder))), source.columns, source.shape)


def copied(files: list[InputFile]) -> list[InputFile]:
    """Return the files of a copy, which are known by size and content: a folder may be moved."""
    return [replace(file, changed=None, inode=None, touched=None) for file in files]


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.jsonl"))


def _deal(source: Source, folder: Path, count: int) -> None:
    waiting: dict[int, list[bytes]] = {}
    held = 0
    for row, raw in _all_rows(source):
        values = _writable(raw)
        line = json.dumps({ROW: row} | values).encode() + b"\n"
        waiting.setdefault(_hash(values.get(source.shape.key), row) % count, []).append(line)
        held += len(line)
        if held >= _BUFFER_BYTES:
            _append(folder, waiting)
            held = 0
    _append(folder, waiting)


def _all_rows(source: Source) -> Iterator[tuple[int, RawRow]]:
    first = 0
    for file in range(len(source.files)):
        count = source.reader(file).count()
        yield from source.rows(Block(0, (Segment(file, 0, count, 0, first),)))
        first += count


def _writable(raw: RawRow) -> dict[str, Any]:
    """Return the values of a row, or in their place why it cannot be read."""
    if raw.reason is not None:
        return {BAD: raw.reason}
    for name, value in raw.values.items():
        if isinstance(value, Unreadable):
            kept = {
                key: value for key, value in raw.values.items() if not isinstance(value, Unreadable)
            }
            return {**kept, BAD: f"{name} is {value.reason}"}
    return raw.values


def _hash(key: Any, row: int) -> int:
    """Return where a query goes; what has none goes anywhere, by its position."""
    text = json.dumps(key if isinstance(key, (str, int)) else ["row", row])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _append(folder: Path, waiting: dict[int, list[bytes]]) -> None:
    for number, lines in waiting.items():
        with (folder / f"{number:06d}.rows").open("ab") as stream:
            stream.writelines(lines)
    waiting.clear()


def _put_in_order(path: Path, target: Path, key: str) -> None:
    groups: dict[Any, list[bytes]] = {}
    with path.open("rb") as lines:
        for line in lines:
            value = json.loads(line)
            name = value.get(key)
            is_name = isinstance(name, (str, int)) and not isinstance(name, bool)
            groups.setdefault((type(name), name) if is_name else value[ROW], []).append(line)
    with target.open("wb") as stream:
        for group in groups.values():
            stream.writelines(group)
        stream.flush()
        os.fsync(stream.fileno())
