"""Inputs made from a seed, and what a batch wrote, read back by pyarrow and json alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shared_core import Reranker

WORDS = (
    *("tea", "water", "sun", "moon", "mercury", "metal", "liquid", "freeze", "bread", "yeast"),
    *("green", "steep", "planet", "singer", "queen", "parcel", "return", "price", "river"),
    *("stone", "winter", "letter", "engine", "window", "garden", "silver"),
)

Row = dict[str, Any]


def made_rows(count: int, *, seed: int = 0, per_query: int = 20, longest: int = 12) -> list[Row]:
    """Rows of pairs: documents of a query one behind the other, in numbers that differ."""
    source = random.Random(seed)
    rows: list[Row] = []
    query = 0
    while len(rows) < count:
        words = " ".join(source.choices(WORDS, k=3))
        for _ in range(source.randint(1, 2 * per_query)):
            rows.append(
                {
                    "query_id": f"q{query}",
                    "query": f"what is {words}?",
                    "document_id": f"d{len(rows)}",
                    "document": " ".join(source.choices(WORDS, k=source.randint(1, longest))),
                }
            )
        query += 1
    return rows[:count]


def as_lists(rows: Sequence[Row]) -> list[Row]:
    """The same, a query with its documents a row."""
    lists: dict[Any, Row] = {}
    for row in rows:
        one = lists.setdefault(
            row["query_id"],
            {
                "query_id": row["query_id"],
                "query": row["query"],
                "documents": [],
                "document_ids": [],
            },
        )
        one["documents"].append(row["document"])
        one["document_ids"].append(row["document_id"])
    return list(lists.values())


def write_jsonl(path: Path, rows: Iterable[Row]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_parquet(path: Path, rows: Sequence[Row], **options: Any) -> Path:
    """Write rows as parquet."""
    pq.write_table(pa.Table.from_pylist(list(rows)), path, **options)
    return path


def read_parts(folder: Path) -> list[Row]:
    """All rows of a folder of parts, in the order of their names."""
    found: list[Row] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            found += pq.read_table(path).to_pylist()
        else:
            found += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return found


def one_by_one(reranker: Reranker, rows: Sequence[Row]) -> list[float]:
    """The scores of rows by the plainest call, a query and a document at a time."""
    return [reranker.score(row["query"], [row["document"]])[0] for row in rows]
