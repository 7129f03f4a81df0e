"""`rank --calibration`: probabilities and no answer, for programs and people."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from support.calibrations import calibrated, calibration_for
from support.prepared_command import run_command

from qwen3_rerank.cli.rank_input import RankJob
from qwen3_rerank.cli.rank_output import print_table
from qwen3_rerank.reading.document_files import GivenDocument
from shared_core import Reranker
from shared_core.calibration import dumped

TINY = ["--model", "tiny", "--device", "cpu", "--dtype", "float32"]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["-1.0", "6.0"], "That none of these answers the query has a probability of 0%."),
        (["-3.0", "-2.0"], "Probably none of these answers the query (88%)."),
        (["-3.0", "-2.0", "6.0"], ""),  # the last one is not judged, and may answer
    ],
)
def test_tables_say_it_in_words(tmp_path: Path, texts: list[str], sentence: str) -> None:
    ranked = calibrated(tmp_path).rerank("q", texts, max_candidates=2)
    job = RankJob("the query", "q", [GivenDocument(text, text) for text in texts])
    console = Console(file=io.StringIO(), width=120)
    print_table(job, ranked, console, documents=True)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert sentence in printed
    assert ("none of these" in printed) is bool(sentence)
    assert f"{ranked[0].probability:.4f}" in printed


def test_lines_have_probability_and_no_answer(tiny: Reranker, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(dumped([calibration_for(tiny)]), "utf-8")
    query, texts = "Who pays?", ["The buyer pays.", "We ship on Mondays."]
    expected = Reranker(**(tiny.options.model_dump() | {"calibration": str(path)}))
    ranking = expected.rerank(query, texts)
    arguments = ["rank", *TINY, "--calibration", str(path)]
    single = run_command(*arguments, query, *texts, "--json")
    lines = [json.loads(line) for line in single.stdout.splitlines()]
    assert [line["probability"] for line in lines] == pytest.approx(
        [found.probability for found in ranking], abs=1e-4
    )
    given = json.dumps({"query": query, "documents": texts}).encode()
    (whole,) = run_command(*arguments, "--json", given=given).stdout.splitlines()
    line = json.loads(whole)
    assert line["no_answer"] == pytest.approx(ranking.no_answer, abs=1e-4)
    assert line["answers"] is ranking.answers
    refused = run_command(*arguments, query, *texts, "--instruction", "Find poems", "--json")
    assert refused.returncode == 2
    assert "was fitted with the instruction" in refused.stderr.replace("\n", " ")
