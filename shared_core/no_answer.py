"""What an adapter does about a query that no document answers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from shared_core.errors import ConfigurationError
from shared_core.results import Ranking
from shared_core.steps import Steps, wait

OnNoAnswer = Literal["keep", "empty"] | Callable[..., Any]
"""Keep the documents, return none, or return those of a function of query and documents."""

Document = TypeVar("Document")


def check_on_no_answer(on_no_answer: OnNoAnswer, calibration: str | None) -> None:
    """Raise if nothing would say that there is no answer.

    Raises:
        ConfigurationError: There is no calibration.
    """
    if on_no_answer != "keep" and calibration is None:
        raise ConfigurationError(
            "on_no_answer needs a calibration, which says when nothing answers: make one with "
            "qwen3-rerank evaluate … --calibrate calibration.json, and give calibration="
            '"calibration.json"'
        )


def is_unanswered(ranking: Ranking, on_no_answer: OnNoAnswer) -> bool:
    """Whether another list is wanted in the place of a ranking.

    Raises:
        ConfigurationError: One may be, and the calibration does not say whether nothing answers.
    """
    if on_no_answer == "keep" or any(document.error is not None for document in ranking):
        return False
    if ranking.no_answer is None:
        raise ConfigurationError(
            f"on_no_answer={on_no_answer!r:.60} needs a calibration with no_answer, which takes "
            "more queries with a right candidate than this one was fitted on"
        )
    return ranking.answers is False


def instead(
    on_no_answer: OnNoAnswer,
    ranking: Ranking,
    query: Any,
    documents: list[Document],
    kind: type[Document],
) -> Steps[list[Document]]:
    """Return the documents; where nothing answers, none or those of the function.

    For event loops, a function that is not async runs in a thread.

    Args:
        on_no_answer: What to return where nothing answers.
        ranking: The ranking, which says whether that is so.
        query: The query, as the framework has it.
        documents: The ranked documents.
        kind: The class of the framework's documents.

    Raises:
        ConfigurationError: As for `is_unanswered`.
        TypeError: The function is async and the call is not, or it returned something else.
    """
    if not is_unanswered(ranking, on_no_answer):
        return documents
    if not callable(on_no_answer):
        return []
    given = yield from wait(
        partial(on_no_answer, query, documents), partial(_awaited, on_no_answer, query, documents)
    )
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            given.close()
        raise TypeError("the function for on_no_answer is async, and this call is not")
    return _checked(given, kind)


async def _awaited(function: Callable[..., Any], query: Any, documents: list[Document]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(query, documents)
    given = await asyncio.to_thread(function, query, documents)
    return await given if inspect.isawaitable(given) else given


def _checked(given: Any, kind: type[Document]) -> list[Document]:
    if isinstance(given, Sequence):
        other = next((item for item in given if not isinstance(item, kind)), None)
        if other is None:
            return list(given)
        found = f"one with a {type(other).__name__}"
    else:
        found = f"a {type(given).__name__}"
    raise TypeError(
        f"the function for on_no_answer must return a list of {kind.__name__}, got {found}"
    )


def refuse_function(on_no_answer: OnNoAnswer) -> None:
    """Raise if JSON is to hold a function.

    Raises:
        TypeError: It is.
    """
    if callable(on_no_answer):
        raise TypeError(
            "on_no_answer is a function, which JSON cannot hold: dump to Python objects, or pickle"
        )
