"""An event loop goes on ticking while long texts are scored: its longest pause is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.checkpoints import write_checkpoint

from shared_core import QueryTooLongError, Reranker

QUERY = "Which planet is red?"
LENGTH = 1_200_000
KINDS = {
    "letters": "qwertzuiopasdfghjkl" * (LENGTH // 19),
    "one letter": "a" * LENGTH,
    "spaces": " " * LENGTH,
    "newlines": "\n" * LENGTH,
    "digits": "0123456789" * (LENGTH // 10),
    "rule": "=" * LENGTH,
    "chinese": "的一是在不了有和人这中大为上个国" * (LENGTH // 16),
    "emoji": "😀🎉" * (LENGTH // 4),
    "marks out of order": "\u0300\u0323" * (LENGTH // 8),
    "words": "Mars is the red planet. " * (LENGTH // 24),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, real_tokenizer: Any) -> Iterator[Reranker]:
    """A small model with Qwen3's vocabulary, loaded."""
    folder = write_checkpoint(tmp_path_factory.mktemp("real"), real_tokenizer)
    with Reranker(str(folder), device="cpu", dtype="float32", max_length=512) as reranker:
        reranker.score(QUERY, ["warm up " * 20_000])
        yield reranker


async def longest_pause(work: Callable[[], Awaitable[Any]]) -> tuple[float, int]:
    """Return the seconds of the longest time without a tick while work is done, and the ticks.

    A pause is counted by the clock or by the process's own time, whichever is less: what other
    processes of the machine take is no fault of ours.
    """
    pauses = []
    done = asyncio.Event()

    async def tick() -> None:
        last = (time.perf_counter(), time.process_time())
        while not done.is_set():
            await asyncio.sleep(0.005)
            now = (time.perf_counter(), time.process_time())
            pauses.append(min(now[0] - last[0], now[1] - last[1]))
            last = now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        await work()
    finally:
        done.set()
        await ticking
    return max(pauses), len(pauses)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_document_of_one_kind_of_character(model: Reranker, kind: str) -> None:
    found: list[Any] = []

    async def work() -> None:
        found.extend(await model.arerank(QUERY, [KINDS[kind], "Mars."]))

    pause, _ = asyncio.run(longest_pause(work))
    assert {one.index: one.truncated for one in found} == {0: True, 1: False}
    assert pause < 0.5


@pytest.mark.parametrize("options", [{}, {"long_documents": "windows", "window_tokens": 256}])
def test_ten_long_documents(model: Reranker, options: dict[str, Any]) -> None:
    """Cut, and as windows, which are counted to the end of the text."""
    longest = LENGTH if not options else 30_000
    documents = [f"{number}{KINDS['letters'][:longest]}" for number in range(10)]
    pause, n_ticks = asyncio.run(longest_pause(lambda: model.arerank(QUERY, documents, **options)))
    assert pause < 0.5
    assert n_ticks > 3


def test_a_long_query_and_instruction_are_refused_without_a_pause(model: Reranker) -> None:
    async def work() -> None:
        for texts in ({"query": KINDS["letters"]}, {"query": "q", "instruction": KINDS["rule"]}):
            with pytest.raises(QueryTooLongError, match="or more tokens"):
                await model.ascore(documents=["Mars."], **texts)

    pause, _ = asyncio.run(longest_pause(work))
    assert pause < 0.5


def test_a_thousand_requests_at_once(model: Reranker) -> None:
    """Tried up to three times, since a busy machine may take the whole process its turns."""

    async def work() -> None:
        await asyncio.gather(
            *(model.ascore(QUERY, [f"{number} " + "tea " * 30]) for number in range(1000))
        )

    tries = (asyncio.run(longest_pause(work)) for _ in range(3))
    assert any(pause < 0.5 and n_ticks > 20 for pause, n_ticks in tries)
