"""Columns of images: what is judged, and that every image that cannot be read is a row's error."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.batch_cases import read_parts, write_jsonl
from support.seeing import Redness, swatch

from qwen3_rerank.batch import BatchInputError, ChangedJobError, Columns, run_batch
from qwen3_rerank.batch.errors import BatchError
from shared_core import Content, Reranker

PICTURES = Columns(image="picture")


@pytest.fixture
def seeing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reranker:
    """A reranker that sees, in a working directory with two images."""
    monkeypatch.chdir(tmp_path)
    for color in ("red", "green"):
        swatch(color).save(f"{color}.png")
    return Reranker(scorer=Redness())


def scored(given: Path, reranker: Reranker, columns: Columns, **options: Any) -> list[Any]:
    """Return rows with scores, and those of the error file with their reasons, in order."""
    out = given.parent / "out"
    run_batch(given, out, reranker=reranker, columns=columns, measure=False, **options)
    found = [row for name in ("scores", "errors") for row in read_parts(out / name)]
    return sorted(found, key=lambda row: (row["row"], row.get("index") or 0))


def test_rows_are_judged_with_their_images_and_the_others_are_named(
    seeing: Reranker, tmp_path: Path
) -> None:
    given = tmp_path / "in.jsonl"
    rows: list[dict[str, Any]] = [
        {"document": "with a caption", "picture": "red.png"},
        {"document": None, "picture": ["green.png", f"{tmp_path}/red.png"]},
        {"document": "a text alone", "picture": None},
        {"document": "gone", "picture": "blue.png"},
        {"document": None, "picture": None},
        {"document": "odd", "picture": 7},
        {"picture": "green.png"},
    ]
    write_jsonl(given, [{"query": "red", **row} for row in rows])
    found = scored(given, seeing, PICTURES)
    expected = seeing.score(
        "red",
        [
            Content("with a caption", ["red.png"]),
            Content(images=["green.png", "red.png"]),
            "a text alone",
            Content(images=["green.png"]),
        ],
    )
    assert [row["row"] for row in found] == list(range(7))
    assert [row["score"] for row in found if "score" in row] == pytest.approx(expected)
    reasons = {row["row"]: row["reason"] for row in found if "score" not in row}
    assert sorted(reasons) == [3, 4, 5]
    assert "blue.png" in reasons[3]
    assert "there is no such file" in reasons[3]
    assert "document is null or missing, expected text" in reasons[4]
    assert "picture is of type int, expected a path" in reasons[5]


def test_lists_have_images_for_each_document(seeing: Reranker, tmp_path: Path) -> None:
    """And the query may have some, if ids tell queries apart."""
    given = tmp_path / "in.jsonl"
    row = {
        "query": "",
        "documents": ["a", None],
        "picture": [None, "red.png"],
        "asked": "green.png",
    }
    write_jsonl(given, [row])
    columns = Columns(image="picture", query_image="asked")
    with pytest.raises(BatchInputError, match="no column 'query_id', which tells queries"):
        scored(given, seeing, columns)
    write_jsonl(given, [{"query_id": 1, **row}, {"query_id": 2, **row, "picture": ["red.png"]}])
    found = scored(given, seeing, columns)
    query = Content(images=["green.png"])
    expected = seeing.score(query, ["a", Content(images=["red.png"])])
    assert [row["score"] for row in found[:2]] == pytest.approx(expected)
    assert found[2]["reason"] == "picture has 1 entries, expected a list of 2 images"


def test_bytes_of_images_are_read_from_parquet(seeing: Reranker, tmp_path: Path) -> None:
    """Alone, and beside the name of a file that need not be there, as data sets have them."""
    data = io.BytesIO()
    swatch("red").save(data, "PNG")
    pictures = pa.array(
        [{"bytes": data.getvalue(), "path": "1.png"}, {"bytes": None, "path": "green.png"}]
    )
    table = pa.table({"query": ["red"] * 2, "picture": pictures, "raw": [data.getvalue(), b"none"]})
    given = tmp_path / "in.parquet"
    pq.write_table(table, given)
    expected = seeing.score("red", [Content(images=[name]) for name in ("red.png", "green.png")])
    assert [row["score"] for row in scored(given, seeing, PICTURES)] == pytest.approx(expected)
    (tmp_path / "second").mkdir()
    given = given.rename(tmp_path / "second" / "in.parquet")
    first, second = scored(given, seeing, Columns(image="raw"))
    assert first["score"] == pytest.approx(expected[0])
    assert "it is no image that can be read" in second["reason"]


def test_what_decides_the_scores_is_the_same_in_one_folder(
    seeing: Reranker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "in.jsonl"
    write_jsonl(given, [{"query": "red", "picture": "red.png", "other": "green.png"}])
    scored(given, seeing, PICTURES)
    with pytest.raises(ChangedJobError, match="image"):
        scored(given, seeing, Columns(image="other"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ChangedJobError, match="folder of images"):
        scored(given, seeing, PICTURES)


def test_a_text_model_ends_the_job_before_any_row(
    tmp_path: Path, reranker: Reranker, seeing: Reranker
) -> None:
    (tmp_path / "other").mkdir()
    given = write_jsonl(tmp_path / "in.jsonl", [{"query": "red", "picture": "red.png"}])
    with pytest.raises(BatchError, match="reads text alone: use a model that sees"):
        scored(given, reranker, PICTURES)
    given = write_jsonl(tmp_path / "other" / "in.jsonl", [{"query": "red", "picture": "red.png"}])
    with pytest.raises(BatchInputError, match="no column 'photo' of images"):
        scored(given, reranker, Columns(image="photo"))
