"""`rank` over long documents: the best part, in lines and in tables."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.prepared_command import run_command

from shared_core import Reranker

QUERY = "Which planet looks red?"
FILLER = "Venus is hot, and its clouds are thick. " * 20
LONG = f"{FILLER}Mars looks red. {FILLER}".strip()
WINDOWS: dict[str, Any] = {"long_documents": "windows", "window_tokens": 64, "window_overlap": 8}
FLAGS = ["--long-documents", "windows", "--window-tokens", "64", "--window-overlap", "8"]
TINY = ["--model", "tiny", "--device", "cpu", "--dtype", "float32"]


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    arguments = ("rank", *TINY, *arguments)
    return run_command(*arguments, given=given.encode(), environment=environment)


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_window_of_a_long_document_is_written(tiny: Reranker, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"id": 7, "text": LONG}) + '\n"Ice is cold."\n', "utf-8")
    whole = lines(run("-q", QUERY, "-f", str(path), *FLAGS))
    cut = lines(run("-q", QUERY, "-f", str(path), *FLAGS, "--return-window"))
    ranked = tiny.rerank(QUERY, [LONG, "Ice is cold."], **WINDOWS)
    for one, line, part in zip(ranked, whole, cut, strict=True):
        assert line["index"] == part["index"] == one.index
        assert line["score"] == pytest.approx(one.score, abs=1e-6)
        if one.window is None:
            assert line == part
            assert "window" not in line
            continue
        assert line["window"] == part["window"] == list(one.window)
        assert line["document"] == {"id": 7, "text": LONG}
        assert part["document"] == {"id": 7, "text": LONG[slice(*one.window)]}


def test_requests_line_by_line(tiny: Reranker) -> None:
    request = {"query": QUERY, "documents": [LONG, "Mars."], "top_k": 1, "id": "a"}
    (line,) = lines(run(*FLAGS, "--return-window", given=json.dumps(request)))
    (one,) = tiny.rerank(QUERY, [LONG, "Mars."], **WINDOWS, return_window=True, top_k=1)
    assert line["id"] == "a"
    assert [result["document"] for result in line["results"]] == [one.document]


def test_a_table_shows_the_part_and_its_place(tiny: Reranker) -> None:
    (one,) = tiny.rerank(QUERY, [LONG], **WINDOWS)
    done = run(QUERY, LONG, *FLAGS, "--table")
    assert done.returncode == 0, done.stderr
    start, end = one.window or (0, 0)
    assert f"[{start}:{end}]" in " ".join(done.stdout.split())


def test_evidence_in_lines_and_in_a_table(tiny: Reranker) -> None:
    (found,) = tiny.rerank(QUERY, [LONG], evidence=True)
    assert found.evidence is not None
    (line,) = lines(run(QUERY, LONG, "--compress"))
    assert line["evidence"]["text"] == found.evidence.text
    assert line["document"] == LONG[slice(*found.evidence.around)]
    table = run(QUERY, LONG, "--evidence", "--table").stdout
    assert found.evidence.text in " ".join(table.replace("│", " ").split())


def test_what_cannot_be_is_said() -> None:
    done = run(QUERY, "x", "--long-documents", "split")
    assert (done.returncode, "long_documents" in done.stderr) == (2, True)
    done = run(QUERY, "x", "--window-tokens", "64", "--window-overlap", "40")
    assert (done.returncode, "more than half" in done.stderr) == (2, True)
