"""Rows that cannot be scored go to the error file and stop nothing; what breaks for all stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batch_cases import Row, as_lists, made_rows, one_by_one, read_parts, write_jsonl
from support.batch_scorers import POISON, Broken, Choking, Quick

from qwen3_rerank.batch import run_batch
from shared_core import ModelLoadError, Reranker, ScoringError

ROWS = made_rows(60, seed=5, per_query=5)
POISONED: list[tuple[Any, str]] = [
    ({"query": None, "document": "d"}, "query is null or missing, expected text"),
    ({"query": " \n", "document": "d"}, "query is blank"),
    ({"query": 7, "document": "d"}, "query is of type int, expected text"),
    ({"query": "q", "document": None}, "document is null or missing"),
    ({"query": "q"}, "document is null or missing"),
    ({"query": "q", "document": ["d"]}, "document is of type list"),
    ({"query": "q", "document": "half \ud83d"}, "half a surrogate pair"),
    ({"query": "half \ud83d", "document": "d"}, "half a surrogate pair"),
    ({"query": "long " * 9000, "document": "d"}, "no token is left for a document"),
    ({"query": "q", "document": "d", "query_id": 1.5}, "query_id is of type float"),
    ({"query": "q", "document": "d", "query_id": True}, "query_id is of type bool"),
    ({"query": "q", "document": "d", "document_id": 2**70}, "more than 64 bits"),
    ({"query": "q", "document": "d", "document_id": None}, "document_id is null"),
    ("{'query': 'not JSON'}", "not JSON"),
    ('["a list"]', "expected an object, got list"),
    (b'{"query": "\xff"}', "not UTF-8 at byte 11"),
    ('{"query": NaN}', "NaN is not JSON"),
]


def line_of(row: Any, number: int) -> bytes:
    if isinstance(row, dict):
        row = json.dumps({"query_id": f"p{number}", "document_id": f"pd{number}"} | row)
    return (row if isinstance(row, bytes) else row.encode()) + b"\n"


def errors(out: Path) -> list[Row]:
    return read_parts(out / "errors")


def test_every_kind_of_poison_is_named_and_all_other_rows_are_scored(
    tmp_path: Path, reranker: Reranker
) -> None:
    lines = [line_of(row, 0) for row in ROWS]
    places = []
    for number, (row, _) in enumerate(POISONED):
        places.append(number * 4 + 2)
        lines.insert(number * 4 + 2, line_of(row, number))
    given = tmp_path / "in.jsonl"
    given.write_bytes(b"\n" + b"".join(lines))  # a blank line is no row
    out = tmp_path / "out"
    summary = run_batch(given, out, reranker=reranker, block_rows=9, measure=False)
    assert (summary.rows, summary.pairs, summary.errors) == (len(lines), 60, len(POISONED))
    found = read_parts(out / "scores")
    assert [row["document_id"] for row in found] == [row["document_id"] for row in ROWS]
    scores = [row["score"] for row in found]
    assert scores == pytest.approx(one_by_one(reranker, ROWS), abs=1e-5)
    named = errors(out)
    assert [row["row"] for row in named] == places
    assert sorted([row["row"] for row in found] + places) == list(range(len(lines)))
    for row, (_, reason) in zip(named, POISONED, strict=True):
        assert reason in row["reason"]
    assert named[0]["query_id"] == "p0"
    assert named[3]["document_id"] == "pd3"
    assert {row["error"] for row in named} == {"ValueError", "QueryTooLongError"}


def test_a_poisoned_entry_of_a_list_costs_that_entry_alone(
    tmp_path: Path, reranker: Reranker
) -> None:
    lists = as_lists(ROWS)
    bad = [dict(row) for row in lists]
    bad[1]["documents"] = [*bad[1]["documents"][:-1], None]
    bad[2]["document_ids"] = ["one"]
    bad[3]["documents"] = []
    given = write_jsonl(tmp_path / "in.jsonl", bad)
    out = tmp_path / "out"
    run_batch(given, out, reranker=reranker, output="ranked", block_rows=2, measure=False)
    named = errors(out)
    last = len(lists[1]["documents"]) - 1
    assert [(row["row"], row["index"]) for row in named] == [(1, last), (2, None), (3, None)]
    assert "expected a list of" in named[1]["reason"]
    ranked = {row["row"]: row for row in read_parts(out / "rankings")}
    assert set(ranked) == set(range(len(lists))) - {2, 3}
    assert len(ranked[1]["document_ids"]) == last


def test_text_that_is_no_utf8_in_parquet_costs_its_row_alone(
    tmp_path: Path, reranker: Reranker
) -> None:
    texts = [row["document"].encode() for row in ROWS[:9]]
    texts[4] = b"broken \xff\xfe"
    storage = pa.array(texts, pa.binary())
    document = pa.StringArray.from_buffers(9, storage.buffers()[1], storage.buffers()[2])
    table = pa.table({"query": ["what is tea?"] * 9, "document": document})
    pq.write_table(table, tmp_path / "in.parquet")
    for group in ("never", "always"):
        out = tmp_path / group
        summary = run_batch(
            tmp_path / "in.parquet", out, reranker=reranker, group=group, measure=False
        )
        assert (summary.pairs, summary.errors) == (8, 1)
        (named,) = errors(out)
        assert named["row"] == 4
        assert "is not UTF-8 at byte 7" in named["reason"]
        assert [row["row"] for row in read_parts(out / "scores")] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_two_texts_for_one_query_id_make_no_ranked_list(tmp_path: Path, reranker: Reranker) -> None:
    rows = [dict(row) for row in ROWS[:12]]
    rows[1] |= {"query_id": rows[0]["query_id"], "query": "another text"}
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    run_batch(given, out, reranker=reranker, output="ranked", measure=False)
    (named,) = errors(out)
    assert (named["row"], named["reason"]) == (1, "this query_id has another query text in row 0")


def test_a_batch_that_fails_as_a_whole_is_halved_down_to_the_pair(tmp_path: Path) -> None:
    """Queries in turn, so that those of a half are not those that come first."""
    rows = [{"query": f"q{n % 3}", "document": f"d {n}"} for n in range(300)]
    for n in (0, 123, 124, 299):
        rows[n]["document"] += POISON
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    with Reranker(scorer=Choking()) as reranker:
        summary = run_batch(given, tmp_path / "out", reranker=reranker, measure=False)
    assert (summary.pairs, summary.errors) == (296, 4)
    named = errors(tmp_path / "out")
    assert [row["row"] for row in named] == [0, 123, 124, 299]
    assert {row["error"] for row in named} == {"ScoringError"}
    found = read_parts(tmp_path / "out" / "scores")
    assert [row["row"] for row in found] == sorted(set(range(300)) - {0, 123, 124, 299})
    with Reranker(scorer=Quick()) as quick:
        expected = one_by_one(quick, [rows[row["row"]] for row in found])
    assert [row["score"] for row in found] == expected


def test_a_backend_that_breaks_stops_the_job_and_blames_no_row(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    with (
        Reranker(scorer=Broken(calls=6)) as reranker,
        pytest.raises(ScoringError, match="illegal memory access"),
    ):
        run_batch(given, out, reranker=reranker, block_rows=10, measure=False)
    done = len(list((out / "scores").iterdir()))
    assert done >= 1
    assert not errors(out)
    with Reranker(scorer=Broken(calls=10**6)) as reranker:
        summary = run_batch(given, out, reranker=reranker, block_rows=10, measure=False)
    assert (summary.blocks_skipped, summary.pairs, summary.errors) == (done, 60, 0)


def test_a_model_that_cannot_be_loaded_stops_the_job_before_it_begins(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    out = tmp_path / "out"
    for measure in (True, False):
        with (
            Reranker(str(tmp_path / "no model")) as reranker,
            pytest.raises(ModelLoadError, match="does not exist"),
        ):
            run_batch(given, out, reranker=reranker, measure=measure)
    assert not list((out / "scores").iterdir())
    assert not errors(out)


def test_a_reranker_that_hides_failures_is_refused(tmp_path: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    with (
        Reranker(scorer=Quick(), on_error="passthrough") as reranker,
        pytest.raises(ValueError, match="on_error='raise'"),
    ):
        run_batch(given, tmp_path / "out", reranker=reranker)
