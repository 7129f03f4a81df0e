"""The division of an input into blocks: the same for the same input and options, every time.

A block is what is scored, written and, after a crash, done again as a whole. Blocks end where a
query ends, so that a query's prefix is computed in one block; only a query of more rows than
`LONGEST` blocks hold is cut, where the output allows for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qwen3_rerank.batch.rows import LinesDigest, Mark

LONGEST = 4
"""How many times its intended size a block may have, rather than to cut a query."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows of one file.

    Attributes:
        file: The file's position in the input.
        start: The position of the first row in the file.
        offset: The position of the first one, in bytes, for files without an index.
        first: The position of the first row in the whole input.
        digest: The digest of the lines, for files of lines: the input must not change later.
    """

    file: int
    start: int
    rows: int
    offset: int
    first: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are scored and written together.

    Attributes:
        number: The position among all blocks, which names its files.
    """

    number: int
    segments: tuple[Segment, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(segment.rows for segment in self.segments)

    def to_json(self) -> str:
        """Return one line of JSON."""
        values = [[s.file, s.start, s.rows, s.offset, s.first, s.digest] for s in self.segments]
        return json.dumps([self.number, values])

    @classmethod
    def from_json(cls, line: str) -> Block:
        """Return the block of a line."""
        number, values = json.loads(line)
        return cls(number, tuple(Segment(*value) for value in values))


def divide(files: Iterable[Iterator[Mark]], size: int, *, cut: bool) -> Iterator[Block]:
    """Yield the blocks of an input.

    Args:
        files: For every file its marks: where queries begin and continue, and where it ends.
        size: Rows that a block is to have: it ends with the query of its ``size``-th row.
        cut: Whether a query that makes a block `LONGEST` times as long may be cut, at a mark.

    >>> marks = [Mark(0, "a"), Mark(3, "b"), Mark(4, "c"), Mark(9, None, ends=True)]
    >>> [block.rows for block in divide([iter(marks)], 2, cut=False)]
    [3, 6]
    """
    number = 0
    first = 0  # of the file, in the whole input
    done: list[Segment] = []  # rows of files before this one
    last_key: object = None
    for file, marks in enumerate(files):
        begin = Mark(0, None)  # of the rows of this file that are in no block yet
        lines = LinesDigest()
        for mark in marks:
            rows = mark.row - begin.row
            if mark.ends:
                done += [_segment(file, begin, rows, first, lines)] if rows else []
                first += mark.row
                break
            held = rows + sum(segment.rows for segment in done)
            is_new = mark.key is None or mark.key != last_key
            last_key = mark.key
            if (held >= size and is_new) or (cut and held >= LONGEST * size):
                done += [_segment(file, begin, rows, first, lines)] if rows else []
                yield Block(number, tuple(done))
                number, done, begin, lines = number + 1, [], mark, LinesDigest()
            if mark.line:
                lines.add(mark.line)
    if done:
        yield Block(number, tuple(done))


def _segment(file: int, begin: Mark, rows: int, first: int, lines: LinesDigest) -> Segment:
    """Return the rows of a file from a mark on."""
    return Segment(file, begin.row, rows, begin.offset, first + begin.row, str(lines))
