"""Figures, intervals, tests, thresholds: against ir-measures, and worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_rerank.evaluation.measures import MEASURES, best_possible, parse, per_query
from qwen3_rerank.evaluation.passages import Judged, best_f1, calibration
from qwen3_rerank.evaluation.significance import difference, estimate, holm
from qwen3_rerank.evaluation.suggestion import Cut, cut, suggest
from qwen3_rerank.evaluation.trec import run_lines
from qwen3_rerank.reading.text import InputError

# q1: the right one is second. q2: of two right ones the first is found third, the other is not.
# q3: nothing right is found. q4: there are no candidates at all.
RELEVANT = {"q1": {"a": 1, "b": 0}, "q2": {"a": 1, "z": 1}, "q3": {"a": 1}, "q4": {"a": 1}}
ORDER = {
    "q1": [("b", 2.0), ("a", 1.0)],
    "q2": [("b", 3.0), ("c", 2.0), ("a", 1.0)],
    "q3": [("b", 1.0)],
}


def test_figures_worked_by_hand() -> None:
    values = per_query(RELEVANT, ORDER, MEASURES)
    ideal = 1 + 1 / math.log2(3)
    assert values["nDCG@10"] == pytest.approx(
        {"q1": 1 / math.log2(3), "q2": 1 / math.log2(4) / ideal, "q3": 0.0, "q4": 0.0}
    )
    assert values["RR@10"] == pytest.approx({"q1": 1 / 2, "q2": 1 / 3, "q3": 0.0, "q4": 0.0})
    assert values["R@5"] == {"q1": 1.0, "q2": 0.5, "q3": 0.0, "q4": 0.0}
    assert values["Success@1"] == dict.fromkeys(RELEVANT, 0.0)


def test_where_a_measure_is_cut_counts() -> None:
    """Twelve candidates, the only right one in place 11."""
    order = {"q": [(f"d{place}", -float(place)) for place in range(1, 13)]}
    names = ("R@20", "R@11", "R@10", "nDCG@10", "nDCG@20", "RR@10", "RR@20", "AP", "Success@10")
    values = per_query({"q": {"d11": 1}}, order, names)
    assert {name: values[name]["q"] for name in names} == pytest.approx(
        {
            "R@20": 1.0,
            "R@11": 1.0,
            "R@10": 0.0,
            "nDCG@10": 0.0,
            "nDCG@20": 1 / math.log2(12),
            "RR@10": 0.0,
            "RR@20": 1 / 11,
            "AP": 1 / 11,
            "Success@10": 0.0,
        }
    )


def test_the_ceiling_counts_what_was_not_retrieved() -> None:
    values = best_possible(RELEVANT, ORDER, MEASURES)
    assert values["Success@1"] == {"q1": 1.0, "q2": 1.0, "q3": 0.0, "q4": 0.0}
    assert values["nDCG@10"]["q2"] == pytest.approx(1 / (1 + 1 / math.log2(3)))


grades = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3), min_size=1)
rankings = st.lists(st.sampled_from("abcdefghij"), unique=True)
margins = st.sampled_from([-40.0, -1.0, 0.0, 40.0, 40.0000001])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(grades, rankings, st.lists(margins, min_size=10)), min_size=1))
def test_figures_equal_those_of_the_written_run(
    tmp_path_factory: pytest.TempPathFactory,
    cases: list[tuple[dict[str, int], list[str], list[float]]],
) -> None:
    """ir-measures reads the files that others would, and computes the same, ties or none."""
    relevant = {f"q{i}": case[0] for i, case in enumerate(cases)}
    order = {
        f"q{i}": list(zip(documents, sorted(scores, reverse=True), strict=False))
        for i, (_, documents, scores) in enumerate(cases)
    }
    folder = tmp_path_factory.mktemp("run")
    (folder / "x.run").write_text("".join(run_lines(order, "tag")), "utf-8")
    (folder / "qrels").write_text(
        "".join(
            f"{query} 0 {document} {grade}\n"
            for query, judged in relevant.items()
            for document, grade in judged.items()
        )
    )
    theirs = ir_measures.calc_aggregate(
        parse(MEASURES),
        list(ir_measures.read_trec_qrels(str(folder / "qrels"))),
        list(ir_measures.read_trec_run(str(folder / "x.run"))),
    )
    ours = per_query(relevant, order, MEASURES)
    for measure, value in theirs.items():
        values = ours[str(measure)].values()
        assert sum(values) / len(values) == pytest.approx(value, abs=1e-12)


def test_order_not_the_alphabet_decides_ties() -> None:
    for order in (["a", "b"], ["b", "a"]):
        ranked = {"q": [(one, 40.0) for one in order]}
        values = per_query({"q": {"a": 1}}, ranked, ["RR@10"])
        assert values["RR@10"]["q"] == 1 / (order.index("a") + 1)


def test_an_unknown_measure_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'nDGC@10' is no measure of ir-measures"):
        parse(["nDGC@10"])
    with pytest.raises(InputError, match="no measures"):
        parse([])


def test_the_randomisation_test_worked_by_hand() -> None:
    """Of the eight signs of (0.1, 0.2, 0.3), two are as far from zero as all alike."""
    found = difference([0.0, 0.0, 0.0, 0.5], [0.1, 0.2, 0.3, 0.5], seed=0)
    assert found.p == pytest.approx(2 / 8)
    assert (found.better, found.worse) == (3, 0)
    assert found.estimate.mean == pytest.approx(0.15)
    turned = difference([0.1, 0.2, 0.3, 0.5], [0.0, 0.0, 0.0, 0.5], seed=0)
    assert turned.p == pytest.approx(2 / 8)
    assert (turned.better, turned.worse) == (0, 3)


def test_nothing_moved_is_no_difference() -> None:
    assert difference([0.3, 1.0], [0.3, 1.0], seed=0).p == 1.0
    assert difference([0.3, 1.0], [0.3, 0.0], seed=0).p == 1.0  # of one query


def test_many_queries_that_rise_together_are_no_chance_and_noise_is() -> None:
    rising = difference([0.0] * 100, [0.01] * 60 + [0.0] * 40, seed=0)
    assert rising.p < 0.001
    assert rising.estimate.low > 0
    swaying = difference([0.0] * 100, [0.5, -0.5] * 50, seed=0)
    assert swaying.p > 0.5
    assert swaying.estimate.low < 0 < swaying.estimate.high


def test_an_interval_is_that_of_the_mean_and_goes_by_its_seed() -> None:
    values = [0.0, 1.0] * 50
    found = estimate(values, seed=1)
    half = 1.96 * 0.5 / math.sqrt(100)
    assert found.mean == 0.5
    assert found.low == pytest.approx(0.5 - half, abs=0.01)
    assert found.high == pytest.approx(0.5 + half, abs=0.01)
    assert estimate(values, seed=1) == found
    assert estimate([1.0, 1.0, 1.0], seed=1).low == 1.0


def test_holm_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


# Five passages of two queries; sorted by score: right, wrong, right, right, wrong.
AFTER = {
    "q1": Judged([0.9, 0.6, 0.1], [True, True, False]),
    "q2": Judged([0.8, 0.7], [False, True]),
}
BEFORE = {
    "q1": Judged([3.0, 2.0, 1.0], [False, True, True]),
    "q2": Judged([2.0, 1.0], [True, False]),
}


def test_the_threshold_of_the_highest_f1_worked_by_hand() -> None:
    """Taking 1, 2, 3, 4, 5 of them, F1 is 1/2, 2/5, 2/3, 6/7, 3/4."""
    found = best_f1(AFTER)
    assert found is not None
    assert found.threshold == 0.6
    assert (found.f1, found.precision, found.recall) == pytest.approx((6 / 7, 3 / 4, 1.0))


def test_a_threshold_never_parts_equal_scores() -> None:
    """Between two scores of 0.5 F1 would be 1; no threshold is there."""
    found = best_f1({"q": Judged([0.5, 0.5, 0.1], [True, False, False])})
    assert found is not None
    assert found.threshold == 0.5
    assert found.f1 == pytest.approx(2 / 3)
    assert best_f1({"q": Judged([0.5], [False])}) is None


def test_the_suggestion_worked_by_hand() -> None:
    """q1 has a right one first, q2 second: top_k must be 2, and 0.7 is the lower of the two."""
    found = suggest(AFTER, BEFORE, keep=1.0)
    assert found is not None
    assert found.top_k == Cut(2, None, 1.0, 1.0, 2.0, pytest.approx(1 / 5), 0)
    assert found.first_stage == Cut(
        2, None, 1.0, pytest.approx(2 / 3), 2.0, pytest.approx(1 / 5), 0
    )
    assert found.both == Cut(2, 0.7, 1.0, pytest.approx(2 / 3), 1.5, pytest.approx(2 / 5), 0)
    assert [one.top_k for one in found.table] == [1, 2, 3]
    assert found.table[0] == Cut(1, None, 0.5, pytest.approx(1 / 3), 1.0, pytest.approx(3 / 5), 0)


def test_top_k_and_threshold_together_keep_what_is_to_be_kept() -> None:
    """Of twenty queries two may be lost: one by top_k, whose rank is 9, and one by the threshold.

    Scores have more digits than are shown, so that rounding one up would lose a query.
    """
    queries = {f"q{i}": Judged([0.9, 0.6000051 - i / 100], [False, True]) for i in range(1, 19)}
    queries["q19"] = Judged([0.9] * 8 + [0.8], [False] * 8 + [True])
    queries["q20"] = Judged([0.9, 0.0001], [False, True])
    found = suggest(queries, queries, keep=0.9)
    assert found is not None
    assert (found.both.top_k, found.both.threshold) == (2, 0.42)
    assert found.both.answered == pytest.approx(18 / 20)
    assert found.top_k.answered == pytest.approx(19 / 20)
    shown = float(f"{found.both.threshold:.4g}")
    assert sum(one.scores[1] >= shown for one in list(queries.values())[:18]) == 18


def test_a_threshold_never_keeps_more_than_top_k() -> None:
    found = cut({"q": Judged([0.9, 0.8, 0.7], [False, False, True])}, 1, 0.5)
    assert (found.passages, found.answered, found.recall, found.empty) == (1.0, 0.0, 0.0, 0)
    assert found.dropped == pytest.approx(2 / 3)


@pytest.mark.parametrize("keep", [0.5, 0.8, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 20, 61])
def test_a_suggestion_always_keeps_the_share(keep: float, count: int) -> None:
    queries = {
        f"q{i}": Judged(
            [1 - place / 12 - (i * 7 % count) / 1000 for place in range(12)],
            [place == i * 5 % 12 for place in range(12)],
        )
        for i in range(count)
    }
    found = suggest(queries, queries, keep)
    assert found is not None
    assert found.both.answered >= keep - 1e-9
    assert found.top_k.answered >= (1 + keep) / 2 - 1e-9
    assert cut(queries, found.both.top_k, found.both.threshold) == found.both


def test_nothing_right_nothing_suggested() -> None:
    wrong = {"q": Judged([0.5], [False])}
    assert suggest(wrong, wrong) is None


def test_queries_not_seen_are_measured_with_the_choice_of_the_others() -> None:
    """Every query alike: what one half chooses is right for the other."""
    alike = {f"q{i}": Judged([0.9, 0.2], [True, False]) for i in range(20)}
    found = suggest(alike, alike)
    assert found is not None
    assert found.unseen == found.both
    assert found.both == Cut(1, 0.9, 1.0, 1.0, 1.0, 0.5, 0)


def test_calibration_worked_by_hand() -> None:
    found = calibration(
        {"q": Judged([1.0, 0.95, 0.62, 0.6, 0.0], [True, False, True, True, False])}
    )
    assert [(one.low, one.count, one.share_right) for one in found.bins] == [
        (0.0, 1, 0.0),
        (0.6, 2, 1.0),
        (0.9, 2, 0.5),
    ]
    assert found.error == pytest.approx((2 * (1.0 - 0.61) + 2 * (0.975 - 0.5)) / 5)
