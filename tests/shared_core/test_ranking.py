"""Order, ties, threshold, min_docs and top_k."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core import ScoringError
from shared_core.ranking import check_margins, rank, sigmoid

margins_lists = st.lists(st.floats(-60, 60), max_size=30)


def test_order_follows_the_margin_where_the_score_saturates() -> None:
    margins = [40.0, 41.0, 50.0, 45.0]
    assert {sigmoid(margin) for margin in margins} == {1.0}
    assert rank(margins) == [2, 3, 1, 0]


def test_ties_keep_the_input_order() -> None:
    assert rank([1.0, 2.0, 1.0, 2.0, 1.0]) == [1, 3, 0, 2, 4]


def test_the_threshold_keeps_a_score_that_equals_it() -> None:
    assert rank([0.0, -0.1, 0.1], score_threshold=0.5) == [2, 0]


def test_min_docs_puts_back_the_best_of_what_the_threshold_removed() -> None:
    assert rank([-3.0, -1.0, -2.0], score_threshold=0.9, min_docs=2) == [1, 2]
    assert rank([-3.0], score_threshold=0.9, min_docs=2) == [0]
    assert rank([5.0, 6.0, -9.0], score_threshold=0.9, min_docs=1) == [1, 0]


def test_top_k_cuts_after_the_threshold() -> None:
    assert rank([1.0, 3.0, 2.0, -9.0], top_k=2, score_threshold=0.5) == [1, 2]


@given(
    margins_lists, st.none() | st.integers(1, 40), st.none() | st.floats(0, 1), st.integers(0, 9)
)
def test_any_ranking_is_sorted_and_obeys_its_bounds(
    margins: list[float], top_k: int | None, threshold: float | None, min_docs: int
) -> None:
    kept = rank(margins, top_k=top_k, score_threshold=threshold, min_docs=min_docs)
    assert len(kept) == len(set(kept))
    assert all(0 <= index < len(margins) for index in kept)
    keys = [(-margins[index], index) for index in kept]
    assert keys == sorted(keys)
    expected = len(margins)
    if threshold is not None:
        passing = sum(sigmoid(margin) >= threshold for margin in margins)
        expected = min(len(margins), max(passing, min_docs))
    assert len(kept) == (expected if top_k is None else min(expected, top_k))


@given(st.floats(-1e300, 1e300))
def test_sigmoid_is_a_probability_and_symmetric(margin: float) -> None:
    assert 0.0 <= sigmoid(margin) <= 1.0
    assert sigmoid(margin) + sigmoid(-margin) == pytest.approx(1.0)


def test_sigmoid_equals_its_formula() -> None:
    for margin in (-30.0, -2.5, 0.0, 0.3, 17.0):
        assert sigmoid(margin) == pytest.approx(1 / (1 + math.exp(-margin)), rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_margin_that_is_no_number_is_an_error(bad: float) -> None:
    with pytest.raises(ScoringError, match="document 1"):
        check_margins([0.0, bad], 2)


def test_a_wrong_count_is_an_error() -> None:
    with pytest.raises(ScoringError, match="1 scores for 2 documents"):
        check_margins([0.0], 2)
