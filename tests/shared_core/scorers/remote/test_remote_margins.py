"""From rows to margins: checked, exact at the ends, in the server's order among ties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core.errors import InvalidReplyError
from shared_core.ranking import rank, sigmoid
from shared_core.scorers.remote.dialects.base import Row
from shared_core.scorers.remote.margins import margin_of, margins_of

probabilities = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 5e-324, 1 - 2**-53, 0.5])


@given(probabilities)
def test_the_score_of_a_margin_is_the_probability_again(probability: float) -> None:
    assert sigmoid(margin_of(probability)) == pytest.approx(probability, rel=1e-12, abs=1e-300)


@given(probabilities, probabilities)
def test_margins_are_ordered_as_probabilities_are(left: float, right: float) -> None:
    if left < right:
        assert margin_of(left) <= margin_of(right)
    assert margin_of(0.0) < margin_of(5e-324)
    assert margin_of(1 - 2**-53) < margin_of(1.0)


@given(st.lists(probabilities, min_size=1, max_size=30), st.randoms())
def test_a_sorted_replys_own_order_is_kept(values: list[float], random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    rows = [
        Row(index, value) for index, value in zip(order, sorted(values, reverse=True), strict=True)
    ]
    margins = margins_of(rows, len(rows), "probability")
    if order != sorted(order):
        assert rank(margins) == order
    for row in rows:
        assert sigmoid(margins[row.index]) == pytest.approx(row.value, abs=1e-12)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=30), st.randoms())
def test_rows_that_are_not_sorted_keep_their_values(values: list[float], random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    rows = [Row(index, values[index]) for index in order]
    margins = margins_of(rows, len(rows), "logit")
    assert margins == pytest.approx(values, rel=1e-12, abs=1e-12)
    in_order = margins_of(
        [Row(index, value) for index, value in enumerate(values)], len(values), "logit"
    )
    assert in_order == values


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([Row(0, 0.5)], "1 scores for 2 documents"),
        ([Row(0, 0.5), Row(1, 0.5), Row(1, 0.5)], "3 scores for 2 documents"),
        ([Row(0, 0.5), Row(2, 0.5)], "document 2 of 2"),
        ([Row(0, 0.5), Row(-1, 0.5)], "document -1 of 2"),
        ([Row(1, 0.5), Row(1, 0.5)], "two scores for document 1"),
        ([Row(0, 0.5), Row(1, 1.01)], "score of document 1 is 1.01, expected a probability"),
        ([Row(0, 0.5), Row(1, -0.01)], "expected a probability"),
        ([Row(0, 0.5), Row(1, math.nan)], "finite"),
    ],
)
def test_what_is_no_ranking_is_refused(rows: list[Row], words: str) -> None:
    with pytest.raises(InvalidReplyError, match=words):
        margins_of(rows, 2, "probability")
