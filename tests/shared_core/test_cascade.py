"""`Cascade`: the second model orders the best documents of the first; scores are each model's own.

Backends whose margins are looked up, and which keep what they were asked, show order and cost; the
bundled model and a random one, in the same places, that real models go through it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core import (
    Cascade,
    ConfigurationError,
    RankedDocument,
    Reranker,
    RerankError,
    ScoreRequest,
    ScoringError,
    pacing,
)
from shared_core.backend import ranker
from shared_core.cascade import scorer as stages


class Counting:
    """A backend whose margin is a function of the document; it keeps what it was asked.

    Args:
        sign: 1 for the number that a document is, -1 for its opposite.
        failing: A query or a document that it fails on.
    """

    def __init__(self, sign: float = 1.0, failing: str | None = None) -> None:
        self.sign, self.failing = sign, failing
        self.asked: list[list[str]] = []
        self.now, self.each = 0.0, 0.0

    @property
    def texts(self) -> list[str]:
        """All that it was asked."""
        return [text for documents in self.asked for text in documents]

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        self.asked.append(list(documents))
        self.now += self.each * len(documents)
        if self.failing in (query, *documents):
            raise RerankError("out of order")
        return [self.sign * float(document.split()[0]) for document in documents]


NUMBERS = [str(number) for number in range(10)]


def made(keep: int, **options: Any) -> tuple[Cascade, Counting, Counting]:
    """Return a cascade, whose second model has the opposite opinion, with both backends."""
    first, second = Counting(), Counting(-1.0)
    rerankers = Reranker(scorer=first), Reranker(scorer=second)
    return Cascade(first=rerankers[0], keep=keep, second=rerankers[1], **options), first, second


def shown(ranking: Sequence[RankedDocument]) -> list[tuple[int, int | None]]:
    return [(found.index, found.stage) for found in ranking]


@given(
    st.lists(st.integers(-3, 3), max_size=9),
    st.integers(1, 10),
    st.sampled_from([{}, {"fusion": "rrf"}, {"fusion": 0.3}, {"mmr": 0.6}]),
    st.sampled_from([{}, {"top_k": 3}, {"score_threshold": 0.5}, {"max_candidates": 4}]),
)
def test_it_is_the_seconds_ranking_of_the_firsts_best_and_the_firsts_of_the_rest(
    numbers: list[int], keep: int, order: dict[str, Any], kept: dict[str, Any]
) -> None:
    documents = list(map(str, numbers))
    chosen = documents
    if "max_candidates" in kept:
        few = list(dict.fromkeys(documents))[: kept["max_candidates"]]
        chosen = [text for text in documents if text in few]
    distinct = sorted(dict.fromkeys(chosen), key=lambda text: -int(text))  # stable, so as ranked
    best = set(distinct[:keep])
    cascade, first, second = made(keep)
    ranking = cascade.rerank("q", documents, **order, **kept)

    def part(texts: Sequence[str], stage: int) -> list[tuple[str, float, int]]:
        scorer = Counting() if stage == 1 else Counting(-1.0)
        alone = Reranker(scorer=scorer).rerank(
            "q", texts, **order, score_threshold=kept.get("score_threshold")
        )
        return [(found.document, found.logit or 0.0, stage) for found in alone]

    if "mmr" not in order:  # which also looks at what the second has put in front
        expected = part([text for text in chosen if text in best], 2)
        expected += part([text for text in chosen if text not in best], 1)
        found = [(one.document, one.logit, one.stage) for one in ranking if one.scored]
        assert found == expected[: kept.get("top_k")]
    assert [one.stage for one in ranking] == sorted(
        (one.stage for one in ranking), key=lambda stage: -(stage or 0)
    )
    assert first.texts == ([] if len(set(chosen)) <= keep else list(dict.fromkeys(chosen)))
    assert sorted(second.texts) == sorted(best)


async def test_async_many_and_as_a_backend_are_the_same() -> None:
    cascade, _, _ = made(3)
    expected = cascade.rerank("q", NUMBERS)
    assert shown(expected) == [(7, 2), (8, 2), (9, 2), *((at, 1) for at in range(6, -1, -1))]
    assert [found.logit for found in expected] == [-7, -8, -9, 6, 5, 4, 3, 2, 1, 0]
    assert await cascade.arerank("q", NUMBERS) == expected
    assert Reranker(scorer=cascade).rerank("q", NUMBERS) == expected
    lists = [NUMBERS, [], ["1", "2"], NUMBERS]
    many = cascade.rerank_many(["q", "r", "s", "t"], lists)
    assert many[0] == many[3] == expected
    assert shown(many[2]) == [(0, 2), (1, 2)]
    assert await cascade.arerank_many(["q", "r", "s", "t"], lists) == many
    judged = cascade.judge("q", NUMBERS)
    assert [(one.logit, one.stage) for one in judged[6:]] == [(6, 1), (-7, 2), (-8, 2), (-9, 2)]
    copy = pickle.loads(pickle.dumps(cascade))  # noqa: S301  # our own bytes
    assert copy.rerank("q", NUMBERS) == expected


def test_the_caches_are_of_each_model() -> None:
    first, second = Counting(), Counting(-1.0)
    cascade = Cascade(
        first=Reranker(scorer=first, cache_size=99),
        keep=2,
        second=Reranker(scorer=second, cache_size=99),
    )
    cascade.rerank("q", ["1", "2", "3"])
    assert shown(cascade.rerank("q", ["3", "2", "5", "7"])) == [(2, 2), (3, 2), (0, 1), (1, 1)]
    assert first.asked == [["1", "2", "3"], ["5", "7"]]
    assert second.asked == [["3", "2"], ["7", "5"]]
    with pytest.raises(ConfigurationError, match="cache_size"):
        Reranker(scorer=cascade, cache_size=9)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cascade, Counting, Counting]]:
    """A cascade that takes a second per document, on a clock of its own."""
    cascade, first, second = made(8)
    first.each = second.each = 1.0
    for module in (pacing, stages, ranker):
        monkeypatch.setattr(module, "monotonic", lambda: first.now + second.now)
    return cascade, first, second


@pytest.mark.parametrize(("budget", "reached"), [(5, 0), (10, 0), (11, 4), (15, 4), (100, 8)])
async def test_a_budget_leaves_less_to_the_second_and_all_to_the_first(
    slow: tuple[Cascade, Counting, Counting], budget: float, reached: int
) -> None:
    cascade, first, second = slow
    ranking = cascade.rerank("q", NUMBERS, time_budget=budget)
    assert first.asked == [NUMBERS]
    assert second.texts == NUMBERS[::-1][:reached]  # the most promising first
    assert [found.stage for found in ranking] == [2] * reached + [1] * (10 - reached)
    assert all(found.scored for found in ranking)
    assert await cascade.arerank("q", NUMBERS, time_budget=budget) == ranking


async def test_where_the_second_fails_the_firsts_order_stays_if_failures_pass(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for budget in (None, 100.0):
        cascade, _, second = made(2, on_error="passthrough")
        second.failing = "bad"
        found = cascade.rerank_many(["bad", "good"], [NUMBERS, NUMBERS], time_budget=budget)
        assert shown(found[0]) == [(at, 1) for at in range(9, -1, -1)]
        assert shown(found[1])[:2] == [(8, 2), (9, 2)]
        assert caplog.text.count("the first's order stays") == 1
        assert (
            await cascade.arerank_many(["bad", "good"], [NUMBERS, NUMBERS], time_budget=budget)
            == found
        )
        caplog.clear()
    cascade, _, second = made(2)
    second.failing = "bad"
    with pytest.raises(RerankError, match="out of order"):
        cascade.rerank("bad", NUMBERS)


async def test_a_second_that_cannot_be_loaded_leaves_the_first_with_a_budget_too() -> None:
    class Away(Counting):
        def load(self) -> None:
            raise RerankError("no answer")

    for on_error, passes in (("passthrough", True), ("raise", False)):
        cascade = Cascade(
            first=Reranker(scorer=Counting()),
            keep=2,
            second=Reranker(scorer=Away(failing="q")),
            on_error=on_error,  # type: ignore[arg-type]  # one of its two values
        )
        if passes:
            found = cascade.rerank("q", NUMBERS, time_budget=50)
            assert shown(found) == [(at, 1) for at in range(9, -1, -1)]
            assert await cascade.arerank("q", NUMBERS, time_budget=50) == found
        else:
            with pytest.raises(RerankError, match="no answer"):
                cascade.rerank("q", NUMBERS, time_budget=50)


def test_where_the_first_fails_its_query_alone_passes_through() -> None:
    cascade, first, _ = made(2, on_error="passthrough")
    first.failing = "bad"
    bad, good = cascade.rerank_many(["bad", "good"], [NUMBERS, NUMBERS], time_budget=50)
    assert [(found.index, found.scored) for found in bad] == [(at, False) for at in range(10)]
    assert shown(good)[0] == (8, 2)


def test_more_wanted_than_the_second_judges_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cascade, _, _ = made(2)
    for _ in range(2):
        assert shown(cascade.rerank("q", NUMBERS, top_k=3)) == [(8, 2), (9, 2), (7, 1)]
    assert caplog.text.count("top_k=3 is more than keep=2") == 1


def test_what_cannot_be_a_cascade_or_use_one_is_refused() -> None:
    plain, other = Reranker(scorer=Counting()), Reranker(scorer=Counting())
    cascade = Cascade(first=plain, second=other)
    for keep in (0, -1):
        with pytest.raises(ConfigurationError, match=f"keep={keep}"):
            Cascade(first=plain, second=other, keep=keep)
    with pytest.raises(TypeError, match="keep must be a number"):
        Cascade(first=plain, second=other, keep=True)
    with pytest.raises(TypeError, match="second must be a Reranker, got a str"):
        Cascade(first=plain, second="tiny")  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ConfigurationError, match="same reranker"):
        Cascade(first=plain, second=plain)
    with pytest.raises(ConfigurationError, match="second is a Cascade"):
        Cascade(first=plain, second=cascade)
    with pytest.raises(ConfigurationError, match="first has instruction, long_documents"):
        Cascade(first=Reranker(instruction="Find.", long_documents="windows"), second=other)
    with pytest.raises(ConfigurationError, match="calibration is of one model"):
        Reranker(scorer=cascade, calibration="calibration.json")
    with pytest.raises(ConfigurationError, match="scorer has instruction"):
        Reranker(scorer=Cascade(first=plain, second=other, instruction="Find."))
    with pytest.raises(ConfigurationError, match="probabilities and no margins"):
        Reranker(scorer=Reranker("tiny"))
    for call in (
        lambda: cascade.score("q", ["1"]),
        lambda: cascade.score_pairs([("q", "1")]),
        cascade.check,
    ):
        with pytest.raises(ConfigurationError, match="Cascade"):
            call()


async def test_two_models_score_as_each_does_alone(reranker: Reranker, checkpoint: Path) -> None:
    documents = [f"Mars is red, {number}." for number in range(5)] + ["Mars is red. " * 30]
    windows: dict[str, Any] = {"long_documents": "windows", "window_tokens": 32}
    instruction = "Find planets."
    with Cascade(
        first=Reranker(str(checkpoint), dtype="float32"),
        keep=3,
        second=Reranker("tiny", dtype="float32"),
        instruction=instruction,
        **windows,
    ) as cascade:
        ranking = cascade.rerank("red planet", documents)
        alone = {
            stage: model.judge("red planet", documents, instruction=instruction, **windows)
            for stage, model in ((1, cascade.first), (2, cascade.second))
        }
        best = sorted(range(6), key=lambda at: -alone[1][at].logit)
        assert {found.index for found in ranking[:3]} == set(best[:3])
        assert [found.index for found in ranking[3:]] == best[3:]
        for found in ranking:
            expected = alone[found.stage or 0][found.index]
            assert found.logit == pytest.approx(expected.logit, abs=1e-5)
            assert (found.window, found.n_tokens) == (expected.window, expected.n_tokens)
            tokens = [alone[stage][found.index].total_tokens or 0 for stage in (1, 2)]
            assert found.total_tokens == sum(tokens[: found.stage])
        with_evidence = cascade.rerank("red planet", documents, evidence=True)
        by_second = cascade.second.rerank(
            "red planet", documents, evidence=True, instruction=instruction, **windows
        )
        text = {found.index: found.evidence.text for found in by_second if found.evidence}
        for found in with_evidence[:3]:
            assert found.evidence
            assert found.evidence.text == text[found.index]
        assert cascade.is_loaded
        assert "then" in cascade.options.model
        cascade.unload()
        assert not cascade.is_loaded
        assert await cascade.arerank("red planet", documents) == ranking
    with pytest.raises(RerankError, match="closed"):
        cascade.first.score("q", ["d"])


def test_a_wrong_number_of_answers_is_noticed() -> None:
    class Short(Counting):
        def score_many(
            self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
        ) -> list[list[Any]]:
            return [[]]

    cascade = Cascade(first=Reranker(scorer=Short()), second=Reranker(scorer=Counting()), keep=1)
    with pytest.raises(ScoringError, match="scores for 2 documents"):
        cascade.rerank("q", ["1", "2"])
