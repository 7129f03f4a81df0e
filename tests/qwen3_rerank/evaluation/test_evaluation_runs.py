"""TREC run files and built-in BM25: what the candidates are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from qwen3_rerank.evaluation import first_stage
from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.trec import falling, read_run, run_lines
from qwen3_rerank.reading.text import InputError

QUERIES = {"q1": "red planet", "q 2": "blue"}
DOCUMENTS = {"d1": "A red planet.", "d 2": "Blue planet", "d3": "Blue, so blue", "d4": "Tea"}
DATA = Dataset("planets", DOCUMENTS, QUERIES, {"q1": {"d1": 1}, "q 2": {"d3": 1}})


def read(tmp_path: Path, text: str | bytes) -> first_stage.FirstStage:
    path = tmp_path / "given.run"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return first_stage.from_run(DATA, path, 3)


def test_a_run_goes_by_score_then_rank_then_line(tmp_path: Path) -> None:
    lines = [
        "q1 Q0 d4 1 0.5 tag",
        "q1 Q0 d1 9 2.5 tag",
        "",
        "q1\tQ0\td%202\t3\t1.0\ttag",
        "q1 Q0 d3 2 1.0 tag",
    ]
    stage = read(tmp_path, "\n".join(lines))
    assert [one for one, _ in stage.candidates["q1"]] == ["d1", "d3", "d 2"]  # at most three
    assert stage.candidates["q 2"] == []
    assert stage.notes == ("1 queries have no candidates, and count as 0 before and after",)


def test_what_a_run_names_and_nobody_knows_is_counted(tmp_path: Path) -> None:
    text = "q1 Q0 d1 1 2 t\nq1 Q0 zz 2 1 t\nq7 Q0 d1 1 1 t\nq7 Q0 d4 2 1 t\nq%202 Q0 d3 1 1 t\n"
    notes = read(tmp_path, text).notes
    assert "1 queries of it are not evaluated" in notes[0]
    assert "1 lines name documents that are not in the corpus (such as zz)" in notes[1]
    with pytest.raises(InputError, match="is it a run of another data set"):
        read(tmp_path, "x Q0 y 1 1 t\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q1 Q0 d1 1 0.5", "line 1: 5 words, expected 6"),
        ("q1 Q0 d 2 1 0.5 tag", "line 1: 7 words, expected 6"),
        ("q1 Q0 d1 1 0.5 t\nq1 Q0 d3 2 high t", "line 2: the score is 'high'"),
        ("q1 Q0 d1 1 nan t", "line 1: the score is 'nan'"),
        ("q1 Q0 d1 first 1 t", "line 1: the rank is 'first'"),
        ("q1 Q0 d1 1 2 t\nq1 Q0 d1 2 1 t", "line 2: document d1 is there twice for query q1"),
        (b"q1 Q0 d\xff 1 2 t", "line 1: not UTF-8"),
    ],
)
def test_a_broken_run_is_named_by_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, text)


def test_what_is_written_is_read_again_in_the_same_order(tmp_path: Path) -> None:
    """Saturated margins, ids with spaces, and ids whose alphabet would turn ties around."""
    ranked = {"q 2": [("d1", 40.0), ("d4", 40.0), ("d3", 40.0 - 1e-9), ("d 2", -3.0)]}
    path = tmp_path / "out.run"
    path.write_text("".join(run_lines(ranked, "tag")), "utf-8")
    run = read_run(path, QUERIES, DOCUMENTS)
    assert [one for one, _ in run.ranked["q 2"]] == ["d1", "d4", "d3", "d 2"]
    cells = [line.split(" ") for line in path.read_text("utf-8").splitlines()]
    assert [len(line) for line in cells] == [6] * 4
    assert cells[3][:4] == ["q%202", "Q0", "d%202", "4"]
    as_float32 = [np.float32(line[4]) for line in cells]
    assert all(a > b for a, b in pairwise(as_float32))


def test_falling_scores_stay_what_they_are() -> None:
    assert falling([3.5, 2.25, -1.0]) == [3.5, 2.25, -1.0]
    assert falling([0.0, 0.0, 0.0])[2] == pytest.approx(0.0, abs=1e-30)


def test_ids_that_escaping_makes_one_are_refused() -> None:
    with pytest.raises(InputError, match="are one in a TREC run file"):
        list(run_lines({"q": [("a b", 2.0), ("a%20b", 1.0)]}, "tag"))


def test_bm25_ranks_by_what_is_shared_and_keeps_the_corpus_order_of_ties() -> None:
    documents = {"z": "same words here", "a": "same words here", "m": "tea", "b": "same tea"}
    data = Dataset("ties", documents, {"q": "same words", "n": "nothing"}, {"q": {}, "n": {}})
    stage = first_stage.bm25(data, 10)
    assert [one for one, _ in stage.candidates["q"]] == ["z", "a", "b"]  # "m" shares no word
    assert stage.candidates["n"] == []
    assert [one for one, _ in first_stage.bm25(data, 1).candidates["q"]] == ["z"]


def test_bm25_scores_are_those_of_the_formula() -> None:
    """Lucene's BM25 by hand: two documents of 2 and 4 words, the term once in the first."""
    data = Dataset("two", {"a": "tea pot", "b": "one two three four"}, {"q": "tea"}, {"q": {}})
    ((name, score),) = first_stage.bm25(data, 5).candidates["q"]
    idf = np.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    assert name == "a"
    assert score == pytest.approx(idf * 1 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3)), rel=1e-5)


def test_bm25_finds_chinese_and_thai_without_spaces() -> None:
    documents = {
        "tea": "绿茶要用八十度的水泡三分钟",
        "bread": "面包需要酵母",
        "th": "กรุงเทพเป็นเมืองหลวงของไทย",
    }
    queries = {"q1": "绿茶泡多久？", "q2": "เมืองหลวงชื่ออะไร"}
    data = Dataset("two", documents, queries, {"q1": {}, "q2": {}})
    found = first_stage.bm25(data, 5).candidates
    assert found["q1"][0][0] == "tea"
    assert [one for one, _ in found["q2"]] == ["th"]


def test_a_document_with_the_id_of_the_query_is_left_out_unless_it_is_right() -> None:
    documents = {"1": "red planet", "2": "red planet too"}
    data = Dataset("same ids", documents, {"1": "red", "2": "red"}, {"1": {"2": 1}, "2": {"2": 1}})
    for stage in (
        first_stage.bm25(data, 5),
        first_stage.from_mapping(data, {"1": ["1", "2"], "2": ["1", "2"]}, 5),
    ):
        assert [one for one, _ in stage.candidates["1"]] == ["2"]
        assert {one for one, _ in stage.candidates["2"]} == {"1", "2"}


def test_given_candidates_are_checked() -> None:
    with pytest.raises(InputError, match="the corpus has no document 'zz'"):
        first_stage.from_mapping(DATA, {"q1": ["zz"]}, 5)
    with pytest.raises(InputError, match="twice among the candidates of 'q1'"):
        first_stage.from_mapping(DATA, {"q1": ["d1", "d1"]}, 5)
