"""A client's event loop stays free: for long texts, and for a thousand calls at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import BUNDLED
from support.loop_work import tokenizer_calls_on_the_loop
from support.upstreams import Request, Upstream, reply
from tokenizers import Tokenizer

from shared_core import Reranker
from shared_core.scorers.remote.dialects.base import Batch, Parsed
from shared_core.scorers.remote.dialects.vllm import VllmClassify
from shared_core.scorers.remote.tokenizing import read_tokenizer

LARGEST = 10_000  # token ids of a request, or bytes of a reply, that the loop may take itself


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


class Watched(VllmClassify):
    """A dialect that notes what it does on the loop's thread, and how large that is."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = threading.get_ident()
        self.n_calls = 0
        self.sizes_on_loop: list[int] = []

    def note(self, size: int) -> None:
        self.n_calls += 1
        if threading.get_ident() == self.loop:
            self.sizes_on_loop.append(size)

    def build(self, batch: Batch) -> dict[str, Any]:
        self.note(len(batch.prefix) + sum(map(len, batch.rests)))
        return super().build(batch)

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        self.note(len(json.dumps(reply)))
        return super().parse(reply, batch)


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
    """Texts are encoded on a worker, and large requests and replies are made and read there."""
    dialect = Watched()

    async def run(upstream: Upstream) -> Counter[str]:
        options = {"dialect": dialect, "template": "prompt", "timeout": 60.0}
        async with upstream.client(tokenizer=checkpoint, **options) as reranker:
            await reranker.ascore("q", ["the tokenizer is read, and the server is known"])
            return await tokenizer_calls_on_the_loop(lambda: work(reranker))

    with Upstream(classify) as upstream:
        assert not asyncio.run(run(upstream))
        n_requests = sum(request.method == "POST" for request in upstream.seen)
    assert dialect.n_calls >= 2 * n_requests > 2
    assert max(dialect.sizes_on_loop) <= LARGEST
