"""Data sets are read as they are, and what is wrong with them is named by file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.readers import read_dataset
from qwen3_rerank.reading.text import InputError

CORPUS = [
    {"_id": "d1", "title": "Mars", "text": "A red planet."},
    {"_id": "d2", "title": "", "text": "A blue planet."},
    {"_id": 3, "text": "水星没有卫星。"},
]
QUERIES = [{"_id": "q1", "text": "red?"}, {"_id": "q2", "text": "moons?"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\t3\t1\n"

MakeBeir = Callable[..., Path]


@pytest.fixture
def beir(tmp_path: Path) -> MakeBeir:
    """Write a BEIR folder; a file may be given as lines, or as bytes."""

    def write(
        corpus: list[Any] | bytes = CORPUS,
        queries: list[Any] | bytes = QUERIES,
        **splits: str,
    ) -> Path:
        folder = tmp_path / "planets"
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        for name, rows in (("corpus", corpus), ("queries", queries)):
            raw = rows if isinstance(rows, bytes) else "\n".join(map(json.dumps, rows)).encode()
            (folder / f"{name}.jsonl").write_bytes(raw)
        for name, text in (splits or {"test": QRELS}).items():
            (folder / "qrels" / f"{name}.tsv").write_text(text, "utf-8")
        return folder

    return write


def test_a_beir_folder_is_read_with_titles_and_grades(beir: MakeBeir) -> None:
    data = read_dataset(beir())
    assert data.documents == {
        "d1": "Mars A red planet.",
        "d2": "A blue planet.",
        "3": "水星没有卫星。",
    }
    assert data.queries == {"q1": "red?", "q2": "moons?"}
    assert data.relevant == {"q1": {"d1": 2, "d2": 0}, "q2": {"3": 1}}
    assert data.notes == ()


def test_judgements_need_no_heading(beir: MakeBeir) -> None:
    assert read_dataset(beir(test="q1\td1\t1\n")).relevant == {"q1": {"d1": 1}}


def test_the_split_is_test_or_the_one_there_or_the_one_named(beir: MakeBeir) -> None:
    folder = beir(dev="q1\td1\t1\n")
    assert set(read_dataset(folder).queries) == {"q1"}
    beir(dev="q1\td1\t1\n", test="q2\t3\t1\n")
    assert set(read_dataset(folder).queries) == {"q2"}
    assert set(read_dataset(folder, split="dev").queries) == {"q1"}
    with pytest.raises(InputError, match=r"no split 'train' \(there are: dev, test\)"):
        read_dataset(folder, split="train")


def test_what_cannot_be_evaluated_is_left_out_and_counted(beir: MakeBeir) -> None:
    queries = [*QUERIES, {"_id": "q3", "text": "  "}, {"_id": "q4", "text": "nobody judged"}]
    qrels = QRELS + "q3\td1\t1\nq9\td1\t1\nq1\tgone\t1\nq4\td1\t0\n"
    data = read_dataset(beir(queries=queries, test=qrels))
    assert set(data.queries) == {"q1", "q2"}
    said = "\n".join(data.notes)
    assert "judgements about 1: q9" in said
    assert "1 judgements call documents relevant that are not in the corpus (1: gone)" in said
    assert "left out: 1 queries without a relevant document" in said
    assert "left out: blank queries (1: q3)" in said
    assert data.relevant["q1"]["gone"] == 1  # counts against every system


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"corpus": b'{"_id": "d1", "text": "x"}\n{oops\n'}, r"corpus\.jsonl, line 2: not JSON"),
        ({"corpus": b'{"text": "x"}'}, r'corpus\.jsonl, line 1: no "_id".*there are: text'),
        ({"corpus": b'\n{"_id": "d1"}'}, r'corpus\.jsonl, line 2: no "text".*there are: _id'),
        ({"corpus": b'["d1", "x"]'}, r"corpus\.jsonl, line 1: expected an object"),
        ({"corpus": b'{"_id": "a", "text": "\xff"}'}, r"corpus\.jsonl, line 1: not UTF-8"),
        ({"corpus": b'{"_id": "a", "text": "\\ud800"}'}, r"line 1: .*half a surrogate pair"),
        ({"corpus": [*CORPUS, CORPUS[0]]}, r"corpus\.jsonl, line 4: the id 'd1' is there twice"),
        ({"corpus": b"\n"}, "holds no documents"),
        ({"queries": [{"_id": "q1", "text": 7}]}, r'queries\.jsonl, line 1: no "text"'),
        ({"test": "q1\td1\n"}, r"test\.tsv, line 1: 2 cells between tabs, expected 3"),
        ({"test": "q1 d1 1\n"}, r"test\.tsv, line 1: 1 cells between tabs"),
        ({"test": QRELS + "q2\td2\thigh\n"}, r"line 5: the grade is 'high', expected a whole"),
        ({"test": QRELS + "q1\td1\t0\n"}, r"line 5: document d1 is graded 0 .* 2 further up"),
        ({"test": "q1\t\t1\n"}, r"line 1: an id is missing"),
        ({"test": "q8\td1\t1\n"}, "no query has a document that is judged relevant"),
    ],
)
def test_a_broken_folder_is_named_by_line(beir: MakeBeir, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_dataset(beir(**given))


def test_missing_files_are_named(beir: MakeBeir, tmp_path: Path) -> None:
    folder = beir()
    (folder / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"has no queries\.jsonl: expected a BEIR folder"):
        read_dataset(folder)
    with pytest.raises(InputError, match="does not exist"):
        read_dataset(tmp_path / "nothing.json")
    (tmp_path / "x.xml").write_text("a")
    with pytest.raises(InputError, match="no file of a known kind"):
        read_dataset(tmp_path / "x.xml")


def squad(folder: Path, *paragraphs: tuple[str, list[Any]]) -> Path:
    path = folder / "squad.json"
    given = [{"context": context, "qas": questions} for context, questions in paragraphs]
    path.write_text(json.dumps({"data": [{"title": "T", "paragraphs": given}]}), "utf-8-sig")
    return path


def test_a_squad_file_gives_each_question_its_paragraph(tmp_path: Path) -> None:
    """Identical paragraphs are one document; what has no answer is counted and left out."""
    path = squad(
        tmp_path,
        ("Tea steeps.", [{"id": "a", "question": "What steeps?", "answers": []}]),
        ("Bread rises.", [{"id": 7, "question": "What rises?"}]),
        (
            "Tea steeps.",
            [
                {"id": "b", "question": "Does it?", "is_impossible": False},
                {"id": "c", "question": "Who knows?", "is_impossible": True},
            ],
        ),
    )
    data = read_dataset(path)
    assert list(data.documents.values()) == ["Tea steeps.", "Bread rises."]
    assert data.queries == {"a": "What steeps?", "7": "What rises?", "b": "Does it?"}
    first, second = data.documents
    assert data.relevant == {"a": {first: 1}, "7": {second: 1}, "b": {first: 1}}
    assert data.notes[0].startswith("1 paragraphs are there more than once")
    assert "1 questions that have no answer" in data.notes[1]


def test_the_first_layout_of_cmrc_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "cmrc.json"
    paragraph = {
        "context_id": "TRIAL_1",
        "context_text": "茶要泡三分钟。",
        "qas": [{"query_id": "TRIAL_1_QUERY_0", "query_text": "茶泡多久？", "answers": ["三分钟"]}],
    }
    path.write_text(json.dumps([paragraph]), "utf-8")
    data = read_dataset(path)
    assert data.queries == {"TRIAL_1_QUERY_0": "茶泡多久？"}
    assert list(data.documents.values()) == ["茶要泡三分钟。"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"squad\.json: not JSON"),
        ("7", "no list of articles"),
        ('{"data": [{}]}', "article 1: no list of paragraphs"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', 'paragraph 1: no "context"'),
        ('{"data": [{"paragraphs": [{"context": "x"}]}]}', 'paragraph 1: no list "qas"'),
        (
            '{"data": [{"paragraphs": [{"context": "x", "qas": [{"question": "y"}]}]}]}',
            'question 1: no "id"',
        ),
        (
            '{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": "1", "question": "y"},'
            '{"id": "1", "question": "z"}]}]}]}',
            "question 2: the id '1' is there twice",
        ),
    ],
)
def test_a_broken_squad_file_is_named_by_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "squad.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_dataset(path)
    if text.startswith('{"data": [{"paragraphs"'):
        with pytest.raises(InputError, match="has no split"):
            read_dataset(path, split="dev")


def test_a_larger_sample_holds_the_smaller_one() -> None:
    names = [f"q{i}" for i in range(50)]
    data = Dataset(
        "made", {"d": "text"}, dict.fromkeys(names, "why?"), {name: {"d": 1} for name in names}
    )
    small, large = data.sample(5, seed=1), data.sample(9, seed=1)
    assert len(small.queries) == 5
    assert set(small.queries) < set(large.queries)
    assert set(small.queries) != set(data.sample(5, seed=2).queries)
    assert small.notes == ("5 of 50 queries, drawn by seed 1",)
    assert data.sample(50, seed=1) is data
    with pytest.raises(InputError, match="has no query nobody to evaluate"):
        data.only(["q1", "nobody"])


def test_the_fingerprint_tells_texts_and_judgements_apart() -> None:
    data = Dataset("made", {"d": "text"}, {"q": "why?"}, {"q": {"d": 1}})
    others = [
        Dataset("made", {"d": "texT"}, {"q": "why?"}, {"q": {"d": 1}}),
        Dataset("made", {"d": "text"}, {"q": "why"}, {"q": {"d": 1}}),
        Dataset("made", {"d": "text"}, {"q": "why?"}, {"q": {"d": 2}}),
    ]
    assert len({one.fingerprint() for one in [data, *others]}) == 4
    renamed = Dataset("other", {"d": "text"}, {"q": "why?"}, {"q": {"d": 1}}, ("note",))
    assert renamed.fingerprint() == data.fingerprint()
