"""Tables of graded passages, MTEB's tasks in both layouts, and MIRACL, as they are on disk."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qwen3_rerank.evaluation import Dataset, InputError, evaluate, read_dataset
from shared_core import Reranker


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def texts(data: Dataset) -> dict[str, dict[str, int]]:
    """Return question → passage → grade."""
    return {
        data.queries[query]: {data.documents[name]: grade for name, grade in grades.items()}
        for query, grades in data.relevant.items()
    }


GRADED = {"Is tea hot?": {"It steeps, at 80.": 2, "Ice.": 0}, "茶？": {"绿茶。": 1, "Ice.": 0}}


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_graded_passages(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "data.csv"
    rows = [["Question", "Passage", "Label"], ["Is tea hot?", '"It steeps, at 80."', "2"]]
    rows += [["Is tea hot?", "Ice.", "no"], ["茶？", "绿茶。", "Yes"], ["茶？", "Ice.", "0"]]
    path.write_text("\n".join(mark.join(row) for row in rows), "utf-8-sig")
    data = read_dataset(path)
    assert texts(data) == GRADED
    assert len(data.documents) == 3
    assert {query: sorted(some) for query, some in data.candidates.items()} == {
        "q1": ["d1", "d2"],
        "q2": ["d2", "d3"],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("question,text\nq,d", "line 1: no column label"),
        ("question,passage,label\nq,d,perhaps", "line 2: the label is 'perhaps'"),
        ("question,passage,label\nq,d,-1", "line 2: the label is '-1'"),
        ("question,passage,label\nq,d", "line 2: 2 cells, expected 3"),
        ("question,passage,label\nq,d,0", "no query has a document that is judged relevant"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=said):
        read_dataset(path)


@pytest.mark.parametrize("packed", [True, False])
def test_an_older_reranking_task_of_mteb(tmp_path: Path, packed: bool) -> None:
    rows = [
        {"query": "Is tea hot?", "positive": ["It steeps, at 80."], "negative": ["Ice."]},
        {"query": ["茶？", "茶呢？"], "positive": "绿茶。", "negative": ["Ice."]},
    ]
    raw = lines(rows).encode()
    path = tmp_path / ("test.jsonl.gz" if packed else "test.jsonl")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    found = texts(read_dataset(path))
    assert found["Is tea hot?"] == {"It steeps, at 80.": 1, "Ice.": 0}
    assert found["茶？"] == found["茶呢？"] == {"绿茶。": 1, "Ice.": 0}
    path.write_bytes(b'{"query": "q", "positive": ["d"]}')
    with pytest.raises(InputError, match='line 1: no "negative"'):
        read_dataset(path.rename(tmp_path / "other.jsonl"))


CORPUS = [{"_id": "a", "title": "Tea", "text": "It steeps."}, {"_id": "b", "text": "Ice."}]


@pytest.mark.parametrize(("prefix", "split"), [("", None), ("zh-", "zh")])
def test_a_newer_task_of_mteb(tmp_path: Path, prefix: str, split: str | None) -> None:
    tables = {
        "corpus": [{"title": None, **row} for row in CORPUS],
        "queries": [{"_id": "q", "text": "Is tea hot?"}],
        "qrels": [{"query-id": "q", "corpus-id": "a", "score": 1.0}],
        "top_ranked": [{"query-id": "q", "corpus-ids": ["a", "b"]}],
    }
    for name, rows in tables.items():
        folder = tmp_path / f"{prefix}{name}"
        folder.mkdir()
        if name == "queries":
            (folder / "test.jsonl").write_text(lines(rows), "utf-8")
        else:
            pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    data = read_dataset(tmp_path, split=split)
    assert texts(data) == {"Is tea hot?": {"Tea It steeps.": 1}}
    assert sorted(data.candidates["q"]) == ["a", "b"]
    with pytest.raises(InputError, match="say which language"):
        read_dataset(tmp_path, split="fr")


def test_miracl(tmp_path: Path) -> None:
    (tmp_path / "topics").mkdir()
    (tmp_path / "qrels").mkdir()
    for kind, text in (("topics", "q\tIs tea hot?\n"), ("qrels", "q\tQ0\ta#0\t1\nq\tQ0\tb#0\t0\n")):
        for split in ("dev", "testA"):
            (tmp_path / kind / f"{kind}.miracl-v1.0-zh-{split}.tsv").write_text(text, "utf-8")
    with pytest.raises(InputError, match="no docs"):
        read_dataset(tmp_path)
    rows = [{"docid": f"{row['_id']}#0", "title": "T", "text": row["text"]} for row in CORPUS]
    for number, row in enumerate(rows):
        (tmp_path / f"docs-{number}.jsonl.gz").write_bytes(gzip.compress(lines([row]).encode()))
    data = read_dataset(tmp_path)
    assert texts(data) == {"Is tea hot?": {"T It steeps.": 1, "T Ice.": 0}}
    assert "dev" in data.name
    assert "testA" in read_dataset(tmp_path, split="testA").name
    with pytest.raises(InputError, match="has 0 files"):
        read_dataset(tmp_path, split="train")


def test_given_candidates_are_ranked_and_their_order_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [
        {"query": f"q{n}", "positive": [f"+{n}"], "negative": [f"-{n}", f"-{n}0"]}
        for n in range(30)
    ]
    path.write_text(lines(rows), "utf-8")
    data = read_dataset(path)

    class Right:
        def score(self, query: str, documents: Any, *, instruction: str) -> list[float]:
            return [float(document.startswith("+")) for document in documents]

    report = evaluate(Reranker(scorer=Right()), data, measures=("Success@1",))
    assert report.first_stage.name.startswith("the data set's own")
    assert 0.1 < report.before_figures["Success@1"].mean < 0.6
    assert report.systems[0].figures["Success@1"].mean == 1.0
    assert (
        evaluate(Reranker(scorer=Right()), data, first_stage="bm25").first_stage.name[:4] == "BM25"
    )
