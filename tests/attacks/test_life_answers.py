"""Scorers of one's own that answer anything: a `ScoringError` that says what, or Python floats."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from shared_core import Reranker, Scored, ScoreRequest, ScoringError

DOCUMENTS = ["a", "b", "c"]
MARGINS = [0.5, -1.0, 2.0]


class Plain:
    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> Any:
        return self.answer()


class Many(Plain):
    def score_many(self, requests: Sequence[ScoreRequest], *, show_progress: bool = False) -> Any:
        return self.answer()

    def unload(self) -> None:
        pass


class Awaited(Many):
    async def ascore_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> Any:
        return self.answer()


def _raising(error: BaseException) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def _broken() -> Iterator[float]:
    yield 1.0
    raise OSError("in the middle")


def _endless() -> Iterator[float]:
    while True:
        yield 1.0


async def _coroutine() -> list[float]:
    return MARGINS


class OwnExit(BaseException):
    """What a library may raise past ``except Exception``."""


# Answers for three documents, and what the error must name.
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "None": (lambda: None, "None"),
    "number": (lambda: 1.0, "float"),
    "string": (lambda: "1.0", "str of length 3"),
    "bytes": (lambda: b"abc", "bytes"),
    "dict": (lambda: dict.fromkeys(DOCUMENTS, 1.0), "dict of length 3"),
    "set": (lambda: {1.0, 2.0, 3.0}, "set of length 3"),
    "object": (object, "object"),
    "too few": (lambda: MARGINS[:2], "2 scores for 3 documents"),
    "too many": (lambda: MARGINS * 2, "6 scores for 3 documents"),
    "empty": (list, "0 scores for 3 documents"),
    "endless": (_endless, "4 scores for 3 documents"),
    "broken": (_broken, "OSError: in the middle"),
    "coroutine": (_coroutine, "coroutine"),
    "strings": (lambda: ["1", "2", "3"], "str of length 1 for document 0"),
    "a None": (lambda: [1.0, None, 2.0], "None for document 1"),
    "bools": (lambda: [1.0, 2.0, True], "bool for document 2"),
    "complex": (lambda: [1.0, 1j, 1.0], "complex for document 1"),
    "decimals": (lambda: [Decimal(1)] * 3, "Decimal for document 0"),
    "nested": (lambda: [[1.0], [2.0], [3.0]], "list of length 1 for document 0"),
    "NaN": (lambda: [1.0, math.nan, 1.0], "nan for document 1"),
    "infinite": (lambda: [1.0, 1.0, -math.inf], "-inf for document 2"),
    "huge": (lambda: [1.0, 1.0, 10**400], "inf for document 2"),
    "array of rows": (lambda: np.ones((3, 2)), "ndarray of shape (2,) for document 0"),
    "array of one": (lambda: np.array(1.0), "ndarray of shape ()"),
    "array of bools": (lambda: np.array([True, False, True]), "for document 0"),
    "array of NaN": (lambda: np.array([1.0, np.nan, 1.0]), "nan for document 1"),
    "tensor of rows": (lambda: torch.ones(3, 1), "Tensor of shape (1,) for document 0"),
    "tensor of one": (lambda: torch.tensor(1.0), "Tensor of shape ()"),
    "tensor of infinity": (lambda: torch.tensor([1.0, math.inf, 1.0]), "inf for document 1"),
    "own exit": (_raising(OwnExit("bye")), "OwnExit: bye"),
    "stop": (_raising(StopIteration(3)), "StopIteration"),
    "error": (_raising(TypeError("not my type")), "TypeError: not my type"),
}
GOOD: dict[str, Callable[[], Any]] = {
    "tuple": lambda: tuple(MARGINS),
    "generator": lambda: (margin for margin in MARGINS),
    "integers": lambda: [1, -1, 2],
    "fractions": lambda: [Fraction(1, 2), -1, 2.0],
    "array": lambda: np.array(MARGINS, dtype=np.float32),
    "array scalars": lambda: [np.float16(1), np.int64(-1), np.float64(2)],
    "tensor": lambda: torch.tensor(MARGINS, dtype=torch.bfloat16, requires_grad=True),
    "tensor scalars": lambda: list(torch.tensor(MARGINS).unbind()),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_a_scoring_error_that_shows_it(name: str) -> None:
    answer, words = BAD[name]
    with pytest.raises(ScoringError) as raised:
        Reranker(scorer=Plain(answer)).rerank("query", DOCUMENTS)
    assert words in str(raised.value)
    with pytest.raises(ScoringError):
        asyncio.run(Reranker(scorer=Plain(answer)).ascore("query", DOCUMENTS))
    through = Reranker(scorer=Plain(answer), on_error="passthrough")
    for ranking in (
        through.rerank("query", DOCUMENTS),
        asyncio.run(through.arerank("query", DOCUMENTS)),
        through.rerank_many(["query"], [DOCUMENTS])[0],
    ):
        assert [one.document for one in ranking] == DOCUMENTS
        assert all(one.score is None and words in str(one.error) for one in ranking)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", [Many, Awaited])
def test_a_bad_answer_to_many_is_a_scoring_error(kind: type[Many], name: str) -> None:
    """As the whole answer, as that to the query, and, where it lists anything, as the margins."""
    answer, _ = BAD[name]
    answers = [answer, lambda: [answer()]]
    if name not in ("bytes", "set", "endless", "coroutine"):
        answers.append(lambda: [[Scored(margin) for margin in answer()]])
    for form in answers:
        reranker = Reranker(scorer=kind(form))
        for call in (
            lambda r=reranker: r.score("query", DOCUMENTS),
            lambda r=reranker: asyncio.run(r.ascore("query", DOCUMENTS)),
        ):
            with pytest.raises(ScoringError):
                call()


@pytest.mark.parametrize("name", GOOD)
def test_numbers_of_any_kind_become_python_floats(name: str) -> None:
    for scorer in (
        Plain(GOOD[name]),
        Many(lambda: [[Scored(margin) for margin in GOOD[name]()]]),
        Awaited(lambda: ([Scored(margin) for margin in GOOD[name]()] for _ in range(1))),
    ):
        reranker = Reranker(scorer=scorer, cache_size=10)
        for _ in range(2):  # the second time from the cache
            ranking = asyncio.run(reranker.arerank("query", DOCUMENTS))
            assert [one.index for one in ranking] == [2, 0, 1]
            assert all(type(one.score) is type(one.logit) is float for one in ranking)
        assert all(type(score) is float for score in reranker.score("query", DOCUMENTS))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["interrupt", "exit"])
def test_what_ends_a_program_is_let_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Reranker(scorer=Plain(_raising(error)), on_error="passthrough").score("query", DOCUMENTS)


def test_a_scorer_that_gives_up_by_itself_is_not_a_cancelled_call() -> None:
    scorer = Plain(_raising(asyncio.CancelledError()))
    with pytest.raises(ScoringError, match="CancelledError"):
        asyncio.run(Reranker(scorer=scorer).ascore("query", DOCUMENTS))
