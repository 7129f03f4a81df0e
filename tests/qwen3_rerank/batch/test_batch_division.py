"""Blocks and chunks: no row lost, none twice, no query cut without need."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import groupby

import pytest

pytest.importorskip("pyarrow", reason="no pyarrow here: pip install -e '.[batch]'")

from qwen3_rerank.batch.blocks import LONGEST, Block, divide
from qwen3_rerank.batch.chunks import chunks
from qwen3_rerank.batch.rows import Mark, Pair

Files = list[list[str | None]]


def marks(keys: list[str | None], step: int) -> Iterator[Mark]:
    """As a reader yields them: where a query begins, and at least every so many rows."""
    for row, key in enumerate(keys):
        if row == 0 or key is None or key != keys[row - 1] or row % step == 0:
            yield Mark(row, key, offset=row * 100)
    yield Mark(len(keys), None, ends=True)


def divided(files: Files, size: int, *, cut: bool) -> list[Block]:
    return list(divide((marks(keys, size) for keys in files), size, cut=cut))


def random_files(seed: int) -> Files:
    source = random.Random(seed)
    keys: list[str | None] = []
    for query in range(source.randint(0, 30)):
        key = None if source.random() < 0.1 else f"q{query}"
        keys += [key] * source.choice([1, 2, 3, 9, 40])
    files: Files = []
    while keys:
        length = source.randint(0, 50)
        files.append(keys[:length])
        keys = keys[length:]
    return [*files, []]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_every_row_is_in_one_block_in_order(seed: int, cut: bool) -> None:
    files = random_files(seed)
    size = random.Random(seed).choice([1, 3, 7, 100])
    blocks = divided(files, size, cut=cut)
    assert [block.number for block in blocks] == list(range(len(blocks)))
    rows = [
        (segment.file, segment.start + n, segment.first + n)
        for block in blocks
        for segment in block.segments
        for n in range(segment.rows)
    ]
    expected = [(file, row) for file, keys in enumerate(files) for row in range(len(keys))]
    assert [row[:2] for row in rows] == expected
    assert [row[2] for row in rows] == list(range(len(expected)))
    assert all(segment.rows for block in blocks for segment in block.segments)
    for block in blocks:
        assert all(segment.offset == segment.start * 100 for segment in block.segments)
        assert Block.from_json(block.to_json()) == block


@pytest.mark.parametrize("seed", range(40))
def test_a_query_is_in_one_block_and_a_block_ends_as_soon_as_it_is_full(seed: int) -> None:
    files = random_files(seed)
    size = random.Random(seed).choice([1, 3, 7])
    flat = [key for keys in files for key in keys]
    at = 0
    for block in (blocks := divided(files, size, cut=False)):
        keys = flat[at : at + block.rows]
        at += block.rows
        if block is not blocks[-1]:
            assert block.rows >= size
            assert keys[-1] is None or keys[-1] != flat[at]
        runs = [list(run) for _, run in groupby(keys)]
        last = 1 if keys[-1] is None else len(runs[-1])
        assert block.rows - last < size


def test_a_query_of_too_many_rows_is_cut_only_where_it_may_be() -> None:
    files: Files = [["a"] * 3, ["b"] * 1000]
    assert [block.rows for block in divided(files, 10, cut=False)] == [1003]
    cut = divided(files, 10, cut=True)
    assert max(block.rows for block in cut) <= (LONGEST + 1) * 10
    assert sum(block.rows for block in cut) == 1003


def pairs(lengths: list[tuple[str, int]]) -> list[Pair]:
    return [
        Pair(row, 0, None, query, None, "x" * length) for row, (query, length) in enumerate(lengths)
    ]


def test_chunks_end_with_a_query_unless_that_doubles_them() -> None:
    given = pairs([("a", 1)] * 7 + [("b", 1)] * 2 + [("c", 1)] * 30)
    found = list(chunks(given, most=5))
    assert [pair for chunk in found for pair in chunk] == given
    assert [len(chunk) for chunk in found] == [7, 10, 10, 10, 2]


def test_chunks_are_small_where_documents_are_long() -> None:
    given = pairs([(f"q{n}", 1_500_000) for n in range(6)])
    assert [len(chunk) for chunk in chunks(given)] == [2, 2, 2]
