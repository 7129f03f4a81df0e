"""Rows that cannot be encoded, and ids of every type: one bad row is one error, and no more."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="no pyarrow here: pip install -e '.[batch]'")

import pyarrow as pa
import pyarrow.parquet as pq
from support.batch_cases import made_rows, read_parts, write_jsonl
from support.batch_processes import run_command
from support.batch_scorers import Quick, margin

from qwen3_rerank.batch import BatchInputError, run_batch
from shared_core import Reranker

ROWS = made_rows(40, seed=14, per_query=4)
HALF = "\ud83d"
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(days=n) for n in range(40)]
TEXTS = [f"id {n}" for n in range(40)]
LARGE = [2**63 + 7 * n for n in range(40)]
MONEY = [decimal.Decimal(10**22 + n).scaleb(-2) for n in range(40)]


def run(given: Path, out: Path, **asked: Any) -> Any:
    with Reranker(scorer=Quick()) as quick:
        return run_batch(given, out, reranker=quick, measure=False, block_rows=9, **asked)


@pytest.mark.parametrize("output", ["scores", "ranked"])
@pytest.mark.parametrize("field", ["document", "query", "query_id", "document_id"])
def test_half_a_surrogate_pair_costs_its_row_alone(field: str, output: Any, tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    rows[17][field] += HALF
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    summary = run(given, tmp_path / "out", output=output, group="always")
    assert (summary.pairs, summary.errors) == (39, 1)
    (named,) = read_parts(tmp_path / "out" / "errors")
    assert named["row"] == 17
    assert "half a surrogate pair" in named["reason"]


def test_the_command_scores_all_rows_but_the_one_that_is_no_text(tmp_path: Path) -> None:
    """With the bundled model, whose tokenizer could not read it."""
    rows = [dict(row) for row in ROWS]
    rows[3]["document"] += HALF
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    done = run_command("batch", given, out, "--model", "tiny", "--device", "cpu", "--json")
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["pairs"], summary["errors"]) == (39, 1)
    assert [row["row"] for row in read_parts(out / "errors")] == [3]
    assert [row["row"] for row in read_parts(out / "scores")] == [n for n in range(40) if n != 3]


IDS: list[tuple[str, pa.Array, pa.DataType, list[Any]]] = [
    ("uint64", pa.array(LARGE, pa.uint64()), pa.uint64(), LARGE),
    ("uint8", pa.array(range(40), pa.uint8()), pa.int64(), list(range(40))),
    ("int16", pa.array(range(40), pa.int16()), pa.int64(), list(range(40))),
    ("string", pa.array(TEXTS), pa.large_string(), TEXTS),
    ("large_string", pa.array(TEXTS, pa.large_string()), pa.large_string(), TEXTS),
    ("dictionary", pa.array(TEXTS).dictionary_encode(), pa.large_string(), TEXTS),
    (
        "dictionary of integers",
        pa.array(LARGE, pa.uint64()).dictionary_encode(),
        pa.uint64(),
        LARGE,
    ),
    ("decimal", pa.array(MONEY, pa.decimal128(38, 2)), pa.large_string(), list(map(str, MONEY))),
    ("date", pa.array(DAYS), pa.large_string(), list(map(str, DAYS))),
]


@pytest.mark.parametrize("layout", ["pairs", "lists"])
@pytest.mark.parametrize(("name", "ids", "kind", "expected"), IDS, ids=[case[0] for case in IDS])
def test_ids_of_a_type_come_out_as_they_went_in(
    name: str, ids: pa.Array, kind: pa.DataType, expected: list[Any], layout: str, tmp_path: Path
) -> None:
    """Of documents, one by one and in lists, and of queries, also through grouping."""
    documents = pa.array([row["document"] for row in ROWS])
    queries = pa.array([f"query {n}" for n in range(40)])
    if layout == "pairs":
        columns = {"query_id": ids, "query": queries, "document_id": ids, "document": documents}
    else:
        offsets = pa.array(range(41), pa.int32())
        columns = {
            "query_id": ids,
            "query": queries,
            "document_ids": pa.ListArray.from_arrays(offsets, ids),
            "documents": pa.ListArray.from_arrays(offsets, documents),
        }
    given = tmp_path / "in.parquet"
    pq.write_table(pa.table(columns), given, store_schema=True)
    groups = ("never", "always") if layout == "pairs" else ("auto",)
    for group in groups:
        out = tmp_path / group
        summary = run(given, out, group=group)
        assert (summary.pairs, summary.errors) == (40, 0), name
        found = sorted(read_parts(out / "scores"), key=lambda row: row["row"])
        assert [row["query_id"] for row in found] == expected
        assert [row["document_id"] for row in found] == expected
        for number, row in enumerate(found):
            assert row["logit"] == margin(f"query {number}", ROWS[number]["document"])
        schema = pq.read_schema(next((out / "scores").iterdir()))
        assert {schema.field(one).type for one in ("query_id", "document_id")} == {kind}


def test_files_whose_ids_have_two_types_have_text_in_common(tmp_path: Path) -> None:
    columns = {"query": ["q"] * 40, "document": [row["document"] for row in ROWS]}
    for name, ids in (("a", pa.array(LARGE, pa.uint64())), ("b", pa.array(range(40)))):
        table = pa.table({**columns, "document_id": ids})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    run(tmp_path / "*.parquet", tmp_path / "out")
    found = [row["document_id"] for row in read_parts(tmp_path / "out" / "scores")]
    assert found == [str(one) for one in (*LARGE, *range(40))]


def test_a_column_of_ids_without_a_value_is_none_and_some_are_errors(tmp_path: Path) -> None:
    """As pandas writes a column of None: the type is null."""
    columns = {"query": ["q"] * 40, "document": [row["document"] for row in ROWS]}
    empty = pa.table({**columns, "query_id": pa.nulls(40), "document_id": pa.nulls(40)})
    pq.write_table(empty, tmp_path / "a.parquet")
    assert run(tmp_path / "a.parquet", tmp_path / "one").errors == 0
    (part, *_) = sorted((tmp_path / "one" / "scores").iterdir())
    assert not {"query_id", "document_id"} & set(pq.read_schema(part).names)
    pq.write_table(pa.table({**columns, "document_id": TEXTS}), tmp_path / "b.parquet")
    given = empty.drop_columns(["query_id"])
    pq.write_table(given, tmp_path / "a.parquet")
    summary = run(tmp_path / "?.parquet", tmp_path / "two")
    assert (summary.pairs, summary.errors) == (40, 40)
    reasons = {row["reason"] for row in read_parts(tmp_path / "two" / "errors")}
    assert reasons == {"document_id is null or missing, expected a string or an integer"}


@pytest.mark.parametrize("kind", ["string_view", "large_string", "null"])
def test_queries_of_any_type_of_text_stay_whole_in_ranked_lists(kind: str, tmp_path: Path) -> None:
    """The types for which pyarrow compares no values as well."""
    table = pa.Table.from_pylist(ROWS)
    if kind == "null":
        table = table.drop_columns(["query_id"]).append_column("query_id", pa.nulls(40))
        pq.write_table(table, tmp_path / "a.parquet")
        pq.write_table(table.slice(0, 0), tmp_path / "b.parquet")
    else:
        index = table.schema.get_field_index("query_id")
        views = table["query_id"].cast(getattr(pa, kind)())
        pq.write_table(table.set_column(index, "query_id", views), tmp_path / "a.parquet")
    run(tmp_path / "?.parquet", tmp_path / "out", output="ranked", group="never")
    found = read_parts(tmp_path / "out" / "rankings")
    queries = list(dict.fromkeys(row["query"] for row in ROWS))
    assert len(found) == len(queries)
    assert sorted(at for row in found for at in row["rows"]) == list(range(40))


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([b"\xff\x00"] * 40, pa.binary()),
        pa.array([0.5] * 40),
        pa.array([True] * 40),
        pa.array([["a"]] * 40),
        pa.array([{"a": 1}] * 40),
    ],
    ids=lambda array: str(array.type),
)
def test_a_type_that_is_no_name_is_refused_before_anything_is_scored(
    ids: pa.Array, tmp_path: Path
) -> None:
    columns = {"query": ["q"] * 40, "document": [row["document"] for row in ROWS]}
    pq.write_table(pa.table({**columns, "document_id": ids}), tmp_path / "in.parquet")
    with pytest.raises(BatchInputError, match=r"'document_id' is .*, expected text or integers"):
        run(tmp_path / "in.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()
