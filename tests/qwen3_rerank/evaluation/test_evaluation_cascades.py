"""Cascades in an evaluation: figures are those of a real `Cascade`, costs those of its calls."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import pytest

from qwen3_rerank.evaluation import Dataset, evaluate
from qwen3_rerank.evaluation.first_stage import bm25
from shared_core import Cascade, Reranker

INSTRUCTION = "Find the passage that answers."
TOP_N, KEEP = 12, 3


@pytest.fixture(scope="module")
def cascade(tiny: Reranker, reranker: Reranker) -> Cascade:
    """The bundled model after a random one, which knows nothing."""
    return Cascade(first=reranker, keep=KEEP, second=tiny, instruction=INSTRUCTION)


def test_its_figures_and_tokens_are_those_of_its_own_rankings(
    cascade: Cascade, demo: Dataset, tmp_path: Path
) -> None:
    few = demo.sample(10, seed=1)
    report = evaluate(cascade, few, top_n=TOP_N, out=tmp_path, measures=["nDCG@10"])
    first, second = report.systems
    assert {first.instruction, second.instruction} == {INSTRUCTION}
    (found,) = report.cascades
    assert [row.keep for row in found.rows] == [KEEP, 5, 10]
    row = found.rows[0]
    run, tokens = [], [0, 0]
    candidates = bm25(few, TOP_N).candidates
    for query, text in few.queries.items():
        ids = [document for document, _ in candidates[query]]
        ranking = cascade.rerank(text, [few.documents[one] for one in ids])
        for place, document in enumerate(ranking):
            run.append(ir_measures.ScoredDoc(query, ids[document.index], -float(place)))
            both, of_last = document.total_tokens or 0, document.n_tokens or 0
            tokens[0] += both if document.stage == 1 else both - of_last
            tokens[1] += 0 if document.stage == 1 else of_last
    judgements = [
        ir_measures.Qrel(query, document, grade)
        for query, grades in few.relevant.items()
        for document, grade in grades.items()
    ]
    measure = ir_measures.parse_measure("nDCG@10")
    value = ir_measures.calc_aggregate([measure], judgements, run)[measure]
    assert row.figure.mean == pytest.approx(value, abs=1e-12)
    assert row.figure.low < row.figure.mean < row.figure.high
    means = [first.figures["nDCG@10"].mean, second.figures["nDCG@10"].mean]
    assert row.from_first.estimate.mean == pytest.approx(value - means[0])
    assert row.from_second.estimate.mean == pytest.approx(value - means[1])
    assert row.tokens == pytest.approx([count / 10 for count in tokens])
    assert first.timing
    assert second.timing
    assert row.seconds is not None
    assert first.timing.mean < row.seconds < first.timing.mean + second.timing.mean

    kept = json.loads((tmp_path / "report.json").read_text())["cascades"]
    assert [one["keep"] for one in kept[0]["rows"]] == [KEEP, 5, 10]
    assert "seconds" not in kept[0]["rows"][0]
    times = json.loads((tmp_path / "timing.json").read_text())["A, then B"]
    assert times[str(KEEP)] == row.seconds
    page = (tmp_path / "report.html").read_text()
    before, _, after = page.partition('<section id="time">')
    assert f"keep = {KEEP}" in before
    assert f"{row.seconds:.3f} s" in after
    assert found.lines()[0].startswith(f"A, then B, keep={KEEP}: nDCG@10 {value:.3f} (")


def test_two_rerankers_are_a_cascade_and_two_instructions_are_none(
    tiny: Reranker, reranker: Reranker, demo: Dataset
) -> None:
    few = demo.sample(2, seed=0)
    both = {"quick": reranker, "good": tiny}
    report = evaluate(both, few, top_n=6, instructions=(None, INSTRUCTION), queries_at_once=2)
    assert [(one.first, one.second) for one in report.cascades] == [("A", "C"), ("B", "D")]
    assert [[row.keep for row in one.rows] for one in report.cascades] == [[5], [5]]
    assert all(row.seconds is None for one in report.cascades for row in one.rows)
    assert not evaluate(tiny, few, top_n=6).cascades
    assert not evaluate(both, few, top_n=5).cascades


def test_windows_of_a_cascade_are_refused_with_the_way_to_do_it(
    tiny: Reranker, reranker: Reranker, demo: Dataset
) -> None:
    cascade = Cascade(first=reranker, second=tiny, long_documents="windows")
    with pytest.raises(ValueError, match="two rerankers with that option by name"):
        evaluate(cascade, demo)
