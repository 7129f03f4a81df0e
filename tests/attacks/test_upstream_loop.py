"""A client's event loop stays free: for long texts, and for a thousand calls at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import BUNDLED
from support.upstreams import Request, Upstream, reply
from tokenizers import Tokenizer

from shared_core import Reranker
from shared_core.scorers.remote.tokenizing import read_tokenizer

TICK = 0.005  # seconds between two looks at the clock


@pytest.fixture(scope="session")
def real_file(real_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    real_tokenizer.backend_tokenizer.save(str(path))
    return path


def classify(request: Request) -> None:
    """As vLLM's pooling server: it takes token ids."""
    rows = b",".join(
        b'{"index": %d, "probs": [0.%03d]}' % (index, index)
        for index in range(len(request.body.get("input", [])))
    )
    is_known = request.target == "/classify"
    request.send(reply(b'{"data": [%s]}' % rows) if is_known else reply(b"{}", status="404 No"))


async def longest_gap(work: Awaitable[Any]) -> float:
    """Return the longest time without a turn of the loop, in seconds.

    By the clock or by this process's own work, whichever is less: other processes take time of the
    clock, and the server, which is in this process, takes time of its work.
    """
    task = asyncio.ensure_future(work)
    longest, last = 0.0, (time.perf_counter(), time.process_time())
    while not task.done():
        await asyncio.sleep(TICK)
        now = (time.perf_counter(), time.process_time())
        longest, last = max(longest, min(now[0] - last[0], now[1] - last[1])), now
    await task
    return longest


def gap(upstream: Upstream, tokenizer: Path, work: Callable[[Reranker], Awaitable[Any]]) -> float:
    async def run() -> float:
        options = {"dialect": "vllm-classify", "template": "prompt", "timeout": 60.0}
        async with upstream.client(tokenizer=tokenizer, **options) as reranker:
            await reranker.ascore("q", ["the tokenizer is read, and the server is known"])
            return await longest_gap(work(reranker))

    return asyncio.run(run())


def test_a_tokenizer_read_in_steps_is_the_same(real_file: Path, checkpoint: Path) -> None:
    for path in (real_file, checkpoint / "tokenizer.json", BUNDLED / "tokenizer.json"):
        assert read_tokenizer(path).to_str() == Tokenizer.from_file(str(path)).to_str()


def thousand(reranker: Reranker) -> Awaitable[Any]:
    """A thousand calls at once, of twenty documents each."""
    calls = [
        reranker.ascore("q", [f"document {number} of call {call} " * 10 for number in range(20)])
        for call in range(1000)
    ]
    return asyncio.gather(*calls)


def many_long(reranker: Reranker) -> Awaitable[Any]:
    """Two million characters, of which the requests have some megabytes."""
    return reranker.ascore("q", [f"word{number} " * 2500 for number in range(100)])


@pytest.mark.parametrize("work", [thousand, many_long], ids=lambda work: work.__name__)
def test_no_work_of_a_client_holds_its_loop(
    work: Callable[[Reranker], Awaitable[Any]], checkpoint: Path
) -> None:
    """Tried up to three times, since a busy machine may take the whole process its turns."""
    with Upstream(classify) as upstream:
        assert any(gap(upstream, checkpoint, work) < 0.5 for _ in range(3))
