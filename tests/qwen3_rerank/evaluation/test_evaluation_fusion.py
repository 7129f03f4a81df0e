"""Fusion in an evaluation: the figures are those of the order that `rerank` gives."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import ir_measures
import pytest

from qwen3_rerank.evaluation import Dataset, evaluate
from qwen3_rerank.evaluation.first_stage import bm25
from qwen3_rerank.evaluation.fusing import WEIGHTS, best_weight, compare_fusions
from qwen3_rerank.evaluation.suggestion import half_of
from shared_core import Reranker

RR = ir_measures.parse_measure("RR@10")


def value(data: Dataset, query: str, ranked: list[str]) -> float:
    judged = [ir_measures.Qrel(query, name, grade) for name, grade in data.relevant[query].items()]
    run = [ir_measures.ScoredDoc(query, name, -place) for place, name in enumerate(ranked)]
    return float(ir_measures.calc_aggregate([RR], judged, run)[RR])


@pytest.mark.parametrize("fusion", ["rrf", 0.3])
def test_the_figures_are_those_of_the_reranker_s_own_fusion(
    tiny: Reranker, demo: Dataset, tmp_path: Path, fusion: float | str
) -> None:
    report = evaluate(tiny, demo, top_n=8, measures=["RR@10"], out=tmp_path)
    (system,) = report.systems
    values = []
    for query, text in demo.queries.items():
        ids, scores = zip(*bm25(demo, 8).candidates[query], strict=True)
        ranked = tiny.rerank(
            text,
            [demo.documents[name] for name in ids],
            fusion=fusion,
            retriever_scores=scores,
        )
        values.append(value(demo, query, [ids[found.index] for found in ranked]))
    (row,) = [row for row in system.fusion.rows if row.fusion == fusion]
    assert row.figure.mean == pytest.approx(fmean(values), abs=1e-12)
    assert row.figure.low <= row.figure.mean <= row.figure.high
    alone = system.figures["RR@10"].mean
    assert row.gain.estimate.mean == pytest.approx(fmean(values) - alone, abs=1e-12)
    assert [row.fusion for row in system.fusion.rows] == ["rrf", *WEIGHTS]
    (written,) = json.loads((tmp_path / "report.json").read_text())["systems"]
    assert written["fusion"]["rows"][0]["fusion"] == "rrf"
    page = (tmp_path / "report.html").read_text()
    assert "Fused with the first stage" in page
    assert f"fusion = {WEIGHTS[0]}" in page


def test_the_weight_of_one_half_is_measured_on_the_other() -> None:
    """The first half needs the first stage; the other half is told what that costs it."""
    queries = [f"q{number}" for number in range(40)]
    candidates = {query: [("a", 2.0), ("b", 1.0), ("c", 0.0)] for query in queries}
    # By the reranker b is first, and a by the first stage; only a weight above 0.5 puts a first.
    margins = {query: [0.0, 2.0, -2.0] for query in queries}
    relevant = {query: {"b" if half_of(query) else "a": 1} for query in queries}
    found = compare_fusions(candidates, margins, relevant, "RR@10", seed=0).unseen
    assert found is not None
    assert (found.weight, found.chosen_on + found.queries) == (0.7, 40)
    assert (found.alone.mean, found.first_stage.mean, found.fused.mean) == (1.0, 0.5, 0.5)
    assert found.gain.worse == found.queries == sum(map(half_of, queries))
    turned = {query: {"a" if half_of(query) else "b": 1} for query in queries}
    report = compare_fusions(candidates, margins, turned, "RR@10", seed=0)
    assert report.unseen is not None
    assert (report.unseen.weight, report.unseen.alone.mean) == (0.0, 0.5)
    assert "no fusion" in best_weight(report)


def test_too_few_queries_have_no_best_weight() -> None:
    report = compare_fusions({"q": [("a", 1.0)]}, {"q": [0.0]}, {"q": {"a": 1}}, "RR@10", 0)
    assert report.unseen is None
    assert "too few queries" in best_weight(report)
    assert all(row.figure.mean == 1.0 for row in report.rows)
