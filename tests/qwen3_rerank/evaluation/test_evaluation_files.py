"""Results on disk, and what a report says of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rerank.evaluation.environment import command_line
from qwen3_rerank.evaluation.results_file import QueryScores, ResultsFile
from qwen3_rerank.reading.folders import OutputFolder
from qwen3_rerank.reading.text import InputError

ONE = QueryScores("k1", "q1", [1.5, -0.25], 40, 0, 0.125)
TWO = QueryScores("k2", "q2", [0.1], None, None, None)


def results(folder: Path) -> ResultsFile:
    return ResultsFile(OutputFolder(folder))


def test_scores_come_back_exactly(tmp_path: Path) -> None:
    written = results(tmp_path)
    written.add([ONE])
    written.add([TWO])
    read = results(tmp_path)
    assert len(read.known) == 2
    assert (read.known.get("k1"), read.known.get("k2"), read.known.get("k3")) == (ONE, TWO, None)


@pytest.mark.parametrize("torn", [b"", b"{", b'{"key": "k3", "query": "q3", "log', b"\xff\xfe"])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "results.jsonl"
    results(tmp_path).add([ONE])
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    read = results(tmp_path)
    assert len(read.known) == 1
    assert path.read_bytes() == whole + torn
    read.add([TWO])
    assert path.read_bytes().startswith(whole + b'{"key": "k2"')
    assert len(results(tmp_path).known) == 2


def test_a_last_line_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results(tmp_path).add([ONE])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    read = results(tmp_path)
    assert read.known.get("k1") == ONE
    read.add([TWO])
    read.add([QueryScores("k3", "q3", [0.5], None, None, None)])
    assert len(results(tmp_path).known) == 3


def test_a_broken_line_in_the_middle_is_named_and_nothing_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results(tmp_path).add([ONE])
    whole = path.read_bytes()
    path.write_bytes(b"{oops}\n" + whole)
    with pytest.raises(InputError, match=r"results\.jsonl, line 1: no result of an evaluation"):
        results(tmp_path)
    assert path.read_bytes() == b"{oops}\n" + whole


def test_the_first_of_two_lines_counts(tmp_path: Path) -> None:
    """Two processes in one folder write the same query twice; figures must not change by it."""
    path = tmp_path / "results.jsonl"
    results(tmp_path).add([ONE])
    again = QueryScores("k1", "q1", [9.0, 9.0], 40, 0, 0.5)
    other = ResultsFile(None)
    other.add([again])
    with path.open("ab") as stream:
        stream.write(path.read_bytes().replace(b"1.5", b"9.0"))
    assert results(tmp_path).known.get("k1") == ONE
    assert other.known.get("k1") == again


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (["--api-key", "sk-1", "x"], "--api-key … x"),
        (["--api-key=sk-1"], "--api-key=…"),
        (["--header", "X: sk-1", "--header=Y: sk-1"], "--header … --header=…"),
        (["-o", "there", "--queries", "3"], "-o OUT --queries 3"),
        (["-othere"], "-oOUT"),
        (["--out=there"], "--out=OUT"),
        (["--instruction", "Find <it>; now"], "--instruction 'Find <it>; now'"),
        (["--api-key"], "--api-key"),
    ],
)
def test_the_command_is_shown_without_secrets_and_place(typed: list[str], shown: str) -> None:
    assert command_line(["evaluate", "data", *typed]) == f"qwen3-rerank evaluate data {shown}"
