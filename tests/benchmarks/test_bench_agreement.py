"""Who is asked to be inexact is judged by the order, everybody else by the scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench.agreement import compare, order_kept
from benchmarks.bench.markdown import render
from benchmarks.bench.result import Agreement, Result

TEN = [place / 10 for place in range(10)]
REFERENCE = Path(__file__).parents[2] / "benchmarks" / "results" / "reference-float32.json"


def swapped(*places: int) -> list[float]:
    """Return ten scores with the ones at these places and their successors exchanged."""
    scores = list(TEN)
    for place in places:
        scores[place], scores[place + 1] = scores[place + 1], scores[place]
    return scores


def test_tau_is_that_of_scipy() -> None:
    from scipy.stats import kendalltau

    reference, scores = [0.1, 0.7, 0.3, 0.9, 0.5], [0.2, 0.6, 0.5, 0.65, 0.4]
    expected = kendalltau(reference, scores).statistic
    assert order_kept(scores, reference, [5], trained=True)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "documents", "trained", "expected"),
    [
        (TEN, [10], True, (1.0, True)),
        (swapped(0, 4), [10], True, (1 - 4 / 45, True)),  # 2 of 45 pairs
        (swapped(0, 4, 8), [10], True, (1 - 6 / 45, False)),
        (swapped(0, 4, 8), [10], False, (1 - 6 / 45, True)),
        (TEN[::-1], [10], False, (-1.0, False)),
        ([0.5] * 10, [10], False, (0.0, False)),  # tells nothing apart
        (swapped(1), [2, 2, 2, 2, 2], True, (1.0, True)),  # across two queries there is no order
        (swapped(2), [2, 2, 2, 2, 2], True, (0.6, True)),  # a single pair may turn
        (swapped(2, 4), [2, 2, 2, 2, 2], True, (0.2, False)),
        (TEN, [1] * 10, True, (None, None)),
        (TEN[:9], [10], False, (0.0, False)),
        ([*TEN[:9], math.nan], [10], False, (0.0, False)),
    ],
)
def test_the_order_within_each_query_counts(
    scores: list[float], documents: list[int], trained: bool, expected: tuple[Any, Any]
) -> None:
    tau, agrees = order_kept(scores, TEN, documents, trained=trained)
    assert (tau, agrees) == (pytest.approx(expected[0], abs=1e-6), expected[1])


def test_pairs_that_the_reference_does_not_tell_apart_do_not_count() -> None:
    assert order_kept([0.1, 0.2, 0.9], [0.5, 0.5, 0.9], [3], trained=True) == (1.0, True)


def judged(scores: list[list[float]], lossy: bool, documents: list[int]) -> Agreement:
    return compare(
        scores,
        TEN,
        documents,
        dtype="float32",
        lossy=lossy,
        trained=True,
        names=("reference", "ours: int8", "recipe"),
    )


def test_only_who_is_lossy_is_judged_by_the_order() -> None:
    moved = [0.2 + 0.5 * score for score in TEN]
    exact, lossy = judged([moved], False, [10]), judged([moved], True, [10])
    assert (exact.order, exact.agrees) == (None, False)
    assert (lossy.order, lossy.agrees) == (1.0, True)
    assert exact.largest == lossy.largest == 0.25


def test_the_worst_call_counts() -> None:
    found = judged([TEN, swapped(0, 4, 8), TEN], True, [10])
    assert (found.order, found.agrees) == (pytest.approx(1 - 6 / 45, abs=1e-6), False)
    nothing = judged([TEN, TEN], True, [1] * 10)
    assert (nothing.order, nothing.agrees) == (None, None)


def result(agreement: Agreement) -> Result:
    """Return a run of which only one workload in eight bits is left, with this agreement."""
    given = Result.read(REFERENCE)
    name, workload = agreement.contestant, agreement.workload
    return given.model_copy(
        update={
            "contestants": [one for one in given.contestants if one.name == name],
            "workloads": [one for one in given.workloads if one.name == workload],
            "samples": [
                one for one in given.samples if one.contestant == name and one.workload == workload
            ],
            "agreements": [agreement],
        }
    )


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        (swapped(0, 4), "| τ 0.91 |"),
        (swapped(0, 4, 8), "| **τ 0.87: differs** |"),
        ([math.nan] * 10, "| **τ 0.00: differs** |"),
    ],
)
def test_the_order_is_shown_and_can_be_read_again(
    scores: list[float], shown: str, tmp_path: Path
) -> None:
    given = result(judged([scores], True, [10]))
    given.write(tmp_path / "result.json")
    found = Result.read(tmp_path / "result.json")
    assert found == given
    assert shown in render(found)


def test_where_nothing_can_be_told_no_verdict_is_shown() -> None:
    assert ", no τ |" in render(result(judged([TEN], True, [1] * 10)))


def test_a_result_of_before_the_order_was_taken_is_read_and_not_judged() -> None:
    old = judged([swapped(0)], True, [10]).model_copy(update={"order": None, "agrees": False})
    text = result(old).model_dump_json(exclude={"agreements": {0: {"order"}}})
    found = Result.model_validate_json(text)
    assert "| 0.1, no τ |" in render(found)
