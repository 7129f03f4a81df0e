"""Every kind of input comes out as the scores that `Reranker` gives, row by row."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batch_cases import (
    as_lists,
    made_rows,
    one_by_one,
    read_parts,
    write_jsonl,
    write_parquet,
)

from qwen3_rerank.batch import BatchInputError, Columns, run_batch
from shared_core import Reranker

ROWS = made_rows(90, per_query=6)


@pytest.fixture(scope="module")
def expected(reranker: Reranker) -> list[float]:
    return one_by_one(reranker, ROWS)


def scores(out: Path) -> list[float]:
    return [row["score"] for row in read_parts(out / "scores")]


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "small row groups", "address"])
def test_pairs_are_scored_in_the_order_of_the_input(
    kind: str, tmp_path: Path, reranker: Reranker, expected: list[float]
) -> None:
    given: Any = tmp_path / "in.jsonl"
    write_jsonl(given, ROWS)
    if kind == "jsonl.gz":
        zipped = tmp_path / "in.jsonl.gz"
        zipped.write_bytes(gzip.compress(given.read_bytes()))
        given = zipped
    elif kind != "jsonl":
        given = tmp_path / "in.parquet"
        write_parquet(given, ROWS, row_group_size=7 if kind == "small row groups" else None)
        given = f"file://{given}" if kind == "address" else given
    summary = run_batch(given, tmp_path / "out", reranker=reranker, block_rows=10, measure=False)
    assert (summary.rows, summary.pairs, summary.errors) == (90, 90, 0)
    assert summary.blocks > 3
    found = read_parts(tmp_path / "out" / "scores")
    assert [row["row"] for row in found] == list(range(90))
    for name in ("query_id", "document_id"):
        assert [row[name] for row in found] == [row[name] for row in ROWS]
    assert [row["score"] for row in found] == pytest.approx(expected, abs=1e-5)


def test_a_folder_is_read_in_the_order_of_names_and_without_what_is_hidden(
    tmp_path: Path, reranker: Reranker, expected: list[float]
) -> None:
    folder = tmp_path / "in"
    (folder / "day=2").mkdir(parents=True)
    write_parquet(folder / "a.parquet", ROWS[:33])
    write_jsonl(folder / "b.jsonl", ROWS[33:60])
    write_parquet(folder / "day=2" / "a.parquet", ROWS[60:])
    (folder / "_SUCCESS").touch()
    (folder / ".hidden.parquet").write_bytes(b"no parquet")
    (folder / "notes.txt").write_text("no rows")
    run_batch(folder, tmp_path / "out", reranker=reranker, measure=False)
    assert scores(tmp_path / "out") == pytest.approx(expected, abs=1e-5)
    pattern = str(folder / "**" / "*.parquet")
    run_batch(pattern, tmp_path / "out2", reranker=reranker, measure=False)
    assert scores(tmp_path / "out2") == pytest.approx(expected[:33] + expected[60:], abs=1e-5)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_are_scored_document_by_document(
    kind: str, tmp_path: Path, reranker: Reranker, expected: list[float]
) -> None:
    lists = as_lists(ROWS)
    write = write_jsonl if kind == "jsonl" else write_parquet
    given = write(tmp_path / f"in.{kind}", lists)
    run_batch(given, tmp_path / "out", reranker=reranker, block_rows=3, measure=False)
    found = read_parts(tmp_path / "out" / "scores")
    assert [(row["row"], row["index"]) for row in found] == [
        (number, index)
        for number, row in enumerate(lists)
        for index in range(len(row["documents"]))
    ]
    assert [row["document_id"] for row in found] == [row["document_id"] for row in ROWS]
    assert [row["score"] for row in found] == pytest.approx(expected, abs=1e-5)


def test_columns_can_have_any_name_and_ids_may_be_missing(
    tmp_path: Path, reranker: Reranker, expected: list[float]
) -> None:
    rows = [{"q": row["query"], "text": row["document"], "other": 1} for row in ROWS]
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    columns = Columns(query="q", document="text")
    out = tmp_path / "out"
    run_batch(given, out, reranker=reranker, columns=columns, format="jsonl", measure=False)
    found = read_parts(out / "scores")
    assert set(found[0]) == {"row", "score", "logit", "n_tokens", "truncated"}
    assert [row["score"] for row in found] == pytest.approx(expected, abs=1e-5)


def test_integer_ids_stay_integers_in_parquet_and_odd_types_are_read(
    tmp_path: Path, reranker: Reranker, expected: list[float]
) -> None:
    table = pa.table(
        {
            "query_id": pa.array([int(row["query_id"][1:]) for row in ROWS], pa.int32()),
            "query": pa.array([row["query"] for row in ROWS]).dictionary_encode(),
            "document_id": pa.array(range(2**63, 2**63 + 90), pa.uint64()),
            "document": pa.array([row["document"] for row in ROWS], pa.large_string()),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    out = tmp_path / "out"
    run_batch(tmp_path / "in.parquet", out, reranker=reranker, block_rows=20, measure=False)
    schema = pq.read_schema(next((out / "scores").iterdir()))
    assert (schema.field("query_id").type, schema.field("document_id").type) == (
        pa.int64(),
        pa.uint64(),
    )
    found = [row["document_id"] for row in read_parts(out / "scores")]
    assert found == list(range(2**63, 2**63 + 90))
    assert scores(out) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("layout", ["pairs", "lists", "no query ids"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_ranked_lists_are_those_of_rerank(
    layout: str, kind: Any, tmp_path: Path, reranker: Reranker
) -> None:
    lists = as_lists(ROWS)
    rows = lists if layout == "lists" else ROWS
    if layout == "no query ids":
        rows = [{key: row[key] for key in row if key != "query_id"} for row in rows]
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    run_batch(
        given,
        tmp_path / "out",
        reranker=reranker,
        output="ranked",
        format=kind,
        top_k=3,
        score_threshold=0.2,
        min_docs=1,
        block_rows=4,
        measure=False,
    )
    found = read_parts(tmp_path / "out" / "rankings")
    assert len(found) == len(lists)
    for got, row in zip(found, lists, strict=True):
        ranked = reranker.rerank(
            row["query"], row["documents"], top_k=3, score_threshold=0.2, min_docs=1
        )
        assert got["document_ids"] == [row["document_ids"][one.index] for one in ranked]
        assert got["scores"] == pytest.approx([one.score for one in ranked], abs=1e-5)
        assert got["logits"] == pytest.approx([one.logit for one in ranked], abs=1e-5)
        if layout == "lists":
            assert got["indexes"] == [one.index for one in ranked]
        else:
            assert [ROWS[at]["document_id"] for at in got["rows"]] == got["document_ids"]
        if layout == "no query ids":
            assert got["query"] == row["query"]
        else:
            assert got["query_id"] == row["query_id"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_scattered_rows_of_a_query_are_brought_together_for_ranked_lists(
    kind: str, tmp_path: Path, reranker: Reranker
) -> None:
    rows = list(ROWS)
    random.Random(3).shuffle(rows)
    write = write_jsonl if kind == "jsonl" else write_parquet
    given = write(tmp_path / f"in.{kind}", rows)
    out = tmp_path / "out"
    run_batch(
        given, out, reranker=reranker, output="ranked", block_rows=8, format="jsonl", measure=False
    )
    found = {row["query_id"]: row for row in read_parts(out / "rankings")}
    lists = as_lists(rows)
    assert len(found) == len(lists)
    for row in lists:
        ranked = reranker.rerank(row["query"], row["documents"])
        got = found[row["query_id"]]
        assert got["document_ids"] == [row["document_ids"][one.index] for one in ranked]
        # Positions are those in the input as it was given.
        assert [rows[at]["document_id"] for at in got["rows"]] == got["document_ids"]
    assert not (out / ".grouped").exists()
    with pytest.raises(ValueError, match="sort the input by query_id"):
        run_batch(
            given, tmp_path / "no", reranker=reranker, output="ranked", group="never", measure=False
        )


def test_scattered_rows_are_scored_right_where_they_are(
    tmp_path: Path, reranker: Reranker, expected: list[float]
) -> None:
    order = list(range(90))
    random.Random(4).shuffle(order)
    given = write_jsonl(tmp_path / "in.jsonl", [ROWS[at] for at in order])
    for group in ("auto", "always"):
        out = tmp_path / group
        run_batch(given, out, reranker=reranker, block_rows=7, group=group, measure=False)
        found = sorted(read_parts(out / "scores"), key=lambda row: row["row"])
        assert [row["row"] for row in found] == list(range(90))
        assert [row["document_id"] for row in found] == [ROWS[at]["document_id"] for at in order]
        wanted = [expected[at] for at in order]
        assert [row["score"] for row in found] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"query": "q", "text": "d"}, "neither of 'document'"),
        ({"query": "q", "document": "d", "documents": ["d"]}, "both of 'document'"),
        ({"question": "q", "document": "d"}, "no column 'query' \\(there are: question, document"),
    ],
)
def test_an_input_without_the_columns_is_refused_in_words(
    row: dict[str, Any], message: str, tmp_path: Path, reranker: Reranker
) -> None:
    for kind, write in (("jsonl", write_jsonl), ("parquet", write_parquet)):
        given = write(tmp_path / f"in.{kind}", [row])
        with pytest.raises(BatchInputError, match=message):
            run_batch(given, tmp_path / "out", reranker=reranker)


def test_what_is_no_input_is_refused_in_words(tmp_path: Path, reranker: Reranker) -> None:
    def refused(given: Any) -> str:
        with pytest.raises(BatchInputError) as caught:
            run_batch(given, tmp_path / "out", reranker=reranker)
        return str(caught.value)

    assert "no such file" in refused(tmp_path / "missing.parquet")
    assert "no file has such a name" in refused(str(tmp_path / "*.parquet"))
    (tmp_path / "empty").mkdir()
    assert "in this folder" in refused(tmp_path / "empty")
    (tmp_path / "a.csv").write_text("query,document\n")
    assert "expected a name that ends with" in refused(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    assert "is not a parquet file" in refused(tmp_path / "a.parquet")
    pq.write_table(pa.table({"query": [1], "document": ["d"]}), tmp_path / "b.parquet")
    assert "column 'query' is int64, expected text" in refused(tmp_path / "b.parquet")
    pq.write_table(pa.table({"query": ["q"], "document": ["d"]}), tmp_path / "c.parquet")
    assert "given twice" in refused([tmp_path / "c.parquet", tmp_path / "c.parquet"])
    assert not list(tmp_path.glob("out/scores/*"))


def test_a_file_without_rows_is_a_job_without_blocks(tmp_path: Path, reranker: Reranker) -> None:
    given = write_parquet(tmp_path / "in.parquet", ROWS[:1])
    pq.write_table(pq.read_table(given).slice(0, 0), given)
    summary = run_batch(given, tmp_path / "out", reranker=reranker)
    assert (summary.rows, summary.blocks, summary.pairs_per_second) == (0, 0, None)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["pairs"] == 0


def test_tokens_and_what_was_cut_are_those_of_rerank(tmp_path: Path, checkpoint: Path) -> None:
    given = write_jsonl(tmp_path / "in.jsonl", ROWS)
    options: dict[str, Any] = {"dtype": "float32", "device": "cpu", "max_length": 88}
    with Reranker(str(checkpoint), **options) as short:
        summary = run_batch(
            given, tmp_path / "out", reranker=short, block_rows=20, format="jsonl", measure=False
        )
        expected = [short.rerank(row["query"], [row["document"]])[0] for row in ROWS]
    found = read_parts(tmp_path / "out" / "scores")
    assert [row["n_tokens"] for row in found] == [one.n_tokens for one in expected]
    assert [row["truncated"] for row in found] == [one.truncated for one in expected]
    assert 0 < summary.truncated == sum(bool(one.truncated) for one in expected) < len(ROWS)
    assert summary.tokens == sum(one.n_tokens or 0 for one in expected)
    saved = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert saved == summary.to_dict()
    with Reranker(str(checkpoint), **options) as short:
        again = run_batch(
            given, tmp_path / "out", reranker=short, block_rows=20, format="jsonl", measure=False
        )
    assert (again.blocks_skipped, again.pairs_per_second) == (again.blocks, None)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == saved


def test_windows_of_long_documents_are_written_with_their_spans(
    tmp_path: Path, checkpoint: Path
) -> None:
    sentences = " ".join(f"{row['document'].capitalize()}." for row in ROWS[:30])
    rows = [*ROWS[:4], {**ROWS[3], "document_id": "long", "document": sentences}]
    given = write_jsonl(tmp_path / "in.jsonl", rows)
    options: dict[str, Any] = {"long_documents": "windows", "window_tokens": 40}
    with Reranker(str(checkpoint), dtype="float32", device="cpu", **options) as windowed:
        run_batch(given, tmp_path / "scores", reranker=windowed)
        run_batch(given, tmp_path / "ranked", reranker=windowed, output="ranked")
        (best,) = windowed.rerank(rows[4]["query"], [sentences])
    assert best.window is not None
    *short, got = read_parts(tmp_path / "scores" / "scores")
    assert [row["window_start"] for row in short] == [None] * 4
    assert (got["window_start"], got["window_end"]) == best.window
    assert got["n_tokens"] == best.total_tokens
    assert got["logit"] == pytest.approx(best.logit, abs=1e-5)
    ranked = {row["query_id"]: row for row in read_parts(tmp_path / "ranked" / "rankings")}
    row = ranked[rows[4]["query_id"]]
    place = row["document_ids"].index("long")
    assert (row["window_starts"][place], row["window_ends"][place]) == best.window
