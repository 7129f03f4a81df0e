"""`calibrate`: probabilities that hold on queries not seen, and a promise about no answer."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_rerank.evaluation import Dataset, InputError, evaluate, read_dataset
from qwen3_rerank.evaluation.calibrated import CalibrationReport
from qwen3_rerank.evaluation.calibrating import (
    Candidates,
    fit,
    fit_of,
    held_out,
    isotonic,
    platt,
    pooled,
    scores_of,
)
from qwen3_rerank.evaluation.no_answer import conformal, fit_no_answer
from shared_core import Reranker
from shared_core.ranking import sigmoid


def made(count: int, seed: int, *, n: int = 10, shift: float = 3.0) -> dict[str, Candidates]:
    """Return queries with one right passage each; its margin has the mean `shift`, others 0."""
    random = Random(seed)
    queries = {}
    for number in range(count):
        right = [False] * n
        right[random.randrange(n)] = True
        margins = [random.gauss(shift if is_right else 0.0, 1.0) for is_right in right]
        queries[f"q{number}"] = Candidates(margins, right)
    return queries


def true_probability(margin: float, n: int = 10, shift: float = 3.0) -> float:
    """By Bayes: two normal distributions of variance 1, and one right passage in n."""
    return sigmoid(shift * margin - shift**2 / 2 - math.log(n - 1))


@pytest.mark.parametrize("curve_of", [platt, isotonic])
def test_both_fits_find_the_true_probabilities(curve_of: object) -> None:
    curve = curve_of(*pooled(list(made(4000, 1).values())))  # type: ignore[operator]
    margins = np.linspace(-2, 5, 50)
    apart = [abs(curve.of(margin) - true_probability(margin)) for margin in margins]
    assert fmean(apart) < 0.02
    assert max(apart) < 0.08


def test_few_passages_get_a_logistic_curve() -> None:
    assert fit(list(made(400, 2).values())).method == "isotonic"
    assert fit(list(made(60, 2).values())).method == "platt"


def test_held_out_probabilities_are_reliable_where_scores_are_not() -> None:
    queries = made(300, 3)
    by_others = held_out(queries)
    before, after = fit_of(scores_of(queries)), fit_of(by_others)
    assert after.reliability.error < before.reliability.error / 4
    assert after.log_loss < before.log_loss
    own = fit(list(queries.values()))
    assert any(  # a query's own judgements are not in its probabilities
        by_others[name].scores != [own.of(margin) for margin in query.margins]
        for name, query in queries.items()
    )


@pytest.mark.parametrize("keep", [0.8, 0.9, 0.95])
def test_the_share_that_is_kept_is_what_was_promised(keep: float) -> None:
    """On 2,000 new queries for each of 20 thresholds, together: as exact as can be counted."""
    new = made(2000, 99)
    kept, noticed = [], []
    for seed in range(20):
        report = fit_no_answer(made(120, seed), keep)
        assert report is not None
        fitted = report.fitted
        values = [fitted.of(query.margins) for query in new.values()]
        kept.append(fmean(value <= fitted.threshold for value in values))
        without = [
            fitted.of([m for m, right in zip(q.margins, q.right, strict=True) if not right])
            for q in new.values()
        ]
        noticed.append(fmean(value > fitted.threshold for value in without))
    n = fitted.queries
    assert keep - 0.02 < fmean(kept) < keep + 1 / (n + 1) + 0.02
    assert fmean(noticed) > 2 * (1 - keep)
    assert sorted({0.8, 0.9, 0.95}) == [level.keep for level in report.levels]


def test_most_ranges_hold_the_share_that_was_kept() -> None:
    inside = [
        level.low <= level.kept <= level.high
        for seed in range(40)
        for level in fit_no_answer(made(160, seed), 0.9).levels  # type: ignore[union-attr]
    ]
    assert fmean(inside) > 0.9


def test_the_number_of_candidates_does_not_give_the_withheld_away() -> None:
    """Right and wrong passages alike: nothing can tell, and nothing is told."""
    report = fit_no_answer(made(600, 5, n=4, shift=0.0), 0.9)
    assert report is not None
    values = [report.fitted.of([0.3] * n) for n in (3, 4)]
    assert values == pytest.approx([0.5, 0.5], abs=0.12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 1))
@settings(max_examples=60)
def test_a_conformal_threshold_is_the_least_that_keeps_enough(
    values: list[float], keep: float
) -> None:
    threshold = conformal(values, keep)
    enough = math.ceil((len(values) + 1) * keep - 1e-9)
    if enough > len(values):
        assert threshold == 1.0
    else:
        assert sum(value <= threshold for value in values) >= enough
        assert sum(value < threshold for value in values) < enough


@pytest.fixture(scope="module")
def report_of_tiny(
    tiny: Reranker, demo_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CalibrationReport, Path]:
    out = tmp_path_factory.mktemp("calibrated")
    path = out / "calibration.json"
    report = evaluate(
        tiny, demo_folder, top_n=5, queries_at_once=8, calibrate=path, out=out / "report"
    )
    (system,) = report.systems
    assert system.calibrated is not None
    return system.calibrated, path


def test_the_bundled_models_probabilities_are_reliable(
    report_of_tiny: tuple[CalibrationReport, Path],
) -> None:
    found, _ = report_of_tiny
    before, after = found.scores.reliability.error, found.probabilities.reliability.error
    assert after <= max(before / 2, 0.04)  # so near 0, some hundred passages tell no difference
    assert found.probabilities.brier < min(found.scores.brier, found.share.brier)
    assert found.no_answer is not None
    assert found.no_answer.told_apart > 0.6


def test_the_file_is_used_by_the_model_that_it_is_of(
    report_of_tiny: tuple[CalibrationReport, Path], tiny: Reranker, demo_folder: Path
) -> None:
    found, path = report_of_tiny
    same = Reranker(**(tiny.options.model_dump() | {"calibration": str(path)}))
    assert same.calibration_of() == found.fitted
    data = read_dataset(demo_folder)
    query = next(iter(data.queries.values()))
    texts = list(data.documents.values())[:4]
    ranking = same.rerank(query, texts)
    assert [d.score for d in ranking] == [d.score for d in tiny.rerank(query, texts)]
    assert ranking.no_answer == found.fitted.no_answer_of([d.logit for d in ranking])
    written = json.loads((path.parent / "report" / "report.json").read_text("utf-8"))
    shown = written["systems"][0]["calibrated"]
    assert shown["fitted"] == json.loads(path.read_text("utf-8"))["calibrations"][0]
    page = (path.parent / "report" / "report.html").read_text("utf-8")
    assert f"{found.probabilities.brier:.4f}" in page
    assert "no_answer" in page


def test_one_file_has_all_instructions_and_too_little_is_refused(
    tiny: Reranker, demo: Dataset, tmp_path: Path
) -> None:
    class Lengths:
        """A backend that prefers long documents."""

        def score(self, query: str, documents: list[str], *, instruction: str) -> list[float]:
            return [len(document) / 100 for document in documents]

    path = tmp_path / "c.json"
    tasks = ["Find laws", "Find poems"]
    long = Reranker(scorer=Lengths())
    queries = {f"q{i}": name for i, name in enumerate(demo.documents) if i < 40}
    relevant = {query: {name: 1} for query, name in queries.items()}
    given = {
        query: [name, *(other for other in list(demo.documents)[:4] if other != name)]
        for query, name in queries.items()
    }
    data = Dataset("made", demo.documents, queries, relevant)
    evaluate(long, data, first_stage=given, instructions=tasks, calibrate=path)
    both = Reranker(scorer=Lengths(), calibration=str(path))
    assert [both.calibration_of(task).instruction for task in tasks] == tasks  # type: ignore[union-attr]
    before = path.read_bytes()
    with pytest.raises(InputError, match="no folder for the calibration"):
        evaluate(long, data, first_stage=given, calibrate=tmp_path / "none" / "c.json")
    with pytest.raises(InputError, match="needs 10 of both"):
        evaluate(long, data.sample(11, 0), first_stage=given, calibrate=path)
    varying = Reranker(scorer=Lengths(), instruction=lambda query: f"Find {query}")
    with pytest.raises(InputError, match="depends on the query"):
        evaluate(varying, data, first_stage=given, calibrate=path)
    assert path.read_bytes() == before
