"""An event loop goes on turning while texts are scored: nothing is encoded on its thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.checkpoints import write_checkpoint
from support.loop_work import tokenizer_calls_on_the_loop

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


def turns_during(work: Callable[[], Awaitable[Any]]) -> int:
    """Do work that no tokenizer does on the loop's thread; return the loop's turns meanwhile."""
    n_turns = 0
    done = asyncio.Event()

    async def tick() -> None:
        nonlocal n_turns
        while not done.is_set():
            await asyncio.sleep(0.001)
            n_turns += 1

    async def run() -> None:
        ticking = asyncio.create_task(tick())
        await asyncio.sleep(0)
        try:
            assert not await tokenizer_calls_on_the_loop(work)
        finally:
            done.set()
            await ticking

    asyncio.run(run())
    return n_turns


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_document_of_one_kind_of_character(model: Reranker, kind: str) -> None:
    found: list[Any] = []

    async def work() -> None:
        found.extend(await model.arerank(QUERY, [KINDS[kind], "Mars."]))

    assert turns_during(work) > 1
    assert {ranked.index: ranked.truncated for ranked in found} == {0: True, 1: False}


@pytest.mark.parametrize("options", [{}, {"long_documents": "windows", "window_tokens": 256}])
def test_ten_long_documents(model: Reranker, options: dict[str, Any]) -> None:
    """Cut, and as windows, which are counted to the end of the text."""
    longest = LENGTH if not options else 30_000
    documents = [f"{number}{KINDS['letters'][:longest]}" for number in range(10)]
    assert turns_during(lambda: model.arerank(QUERY, documents, **options)) > 3


def test_a_long_query_and_instruction_are_refused_on_a_worker(model: Reranker) -> None:
    async def work() -> None:
        for texts in ({"query": KINDS["letters"]}, {"query": "q", "instruction": KINDS["rule"]}):
            with pytest.raises(QueryTooLongError, match="or more tokens"):
                await model.ascore(documents=["Mars."], **texts)

    assert turns_during(work) >= 1


def test_a_thousand_requests_at_once(model: Reranker) -> None:
    async def work() -> None:
        await asyncio.gather(
            *(model.ascore(QUERY, [f"{number} " + "tea " * 30]) for number in range(1000))
        )

    assert turns_during(work) > 20
