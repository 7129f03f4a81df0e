"""A batch with a calibration: columns of probabilities, of no answer per query, and a threshold."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.batch_cases import read_parts, write_jsonl
from support.calibrations import HALF, Margins, calibrated

from qwen3_rerank.batch import ChangedJobError, run_batch
from shared_core import Reranker
from shared_core.ranking import sigmoid

ROWS = [
    {"query_id": "a", "query": "q", "document": "-1.0"},
    {"query_id": "a", "query": "q", "document": "6.0"},
    {"query_id": "b", "query": "r", "document": "-3.0"},
]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_scores_and_ranked_lists_have_probabilities(tmp_path: Path, form: str) -> None:
    rows, reranker = write_jsonl(tmp_path / "rows.jsonl", ROWS), calibrated(tmp_path)
    run_batch(rows, tmp_path / "scores", reranker=reranker, format=form)
    found = read_parts(tmp_path / "scores" / "scores")
    assert [row["probability"] for row in found] == [HALF.of(m) for m in (-1.0, 6.0, -3.0)]
    run_batch(rows, tmp_path / "ranked", reranker=reranker, format=form, output="ranked", top_k=1)
    first, second = read_parts(tmp_path / "ranked" / "rankings")
    assert (first["probabilities"], first["no_answer"]) == ([HALF.of(6.0)], sigmoid(-6.0))
    assert (second["probabilities"], second["no_answer"]) == ([HALF.of(-3.0)], sigmoid(3.0))


def test_it_is_not_continued_with_another_calibration(tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    run_batch(rows, tmp_path / "out", reranker=Reranker(scorer=Margins()))
    (row, *_) = read_parts(tmp_path / "out" / "scores")
    assert "probability" not in row
    with pytest.raises(ChangedJobError, match="calibration was not set"):
        run_batch(rows, tmp_path / "out", reranker=calibrated(tmp_path))


def test_a_ranked_list_keeps_what_is_probable_enough(tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", ROWS)
    job = {"output": "ranked", "format": "jsonl", "min_probability": HALF.of(5.0)}
    run_batch(rows, tmp_path / "out", reranker=calibrated(tmp_path), **job)
    first, second = read_parts(tmp_path / "out" / "rankings")
    assert (first["logits"], second["logits"]) == ([6.0], [])
    again = job | {"min_probability": 0.5}
    with pytest.raises(ChangedJobError, match="min_probability was"):
        run_batch(rows, tmp_path / "out", reranker=calibrated(tmp_path), **again)
    with pytest.raises(ValueError, match="needs a reranker with a calibration"):
        run_batch(rows, tmp_path / "other", reranker=Reranker(scorer=Margins()), **job)


def test_a_wrapped_query_without_a_calibration_of_its_own_is_an_error_of_its_rows(
    tmp_path: Path,
) -> None:
    wrapped = "<Instruct>: Find a drink\n<Query>: tea\n"
    rows = write_jsonl(
        tmp_path / "rows.jsonl", [*ROWS, {**ROWS[2], "query_id": "c", "query": wrapped}]
    )
    summary = run_batch(rows, tmp_path / "out", reranker=calibrated(tmp_path), format="jsonl")
    assert (summary.pairs, summary.errors) == (3, 1)
    (error,) = read_parts(tmp_path / "out" / "errors")
    assert (error["row"], error["error"]) == (3, "ConfigurationError")
    assert "'Find a drink'" in error["reason"]
