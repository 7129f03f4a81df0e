"""A real vLLM server is killed in the middle of 200 requests, and started again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter

import httpx
import pytest
from support.checkpoints import BUNDLED
from with_vllm.servers import MODEL_NAME, Servers

from shared_core import RemoteError, Reranker, RerankError

QUERIES = 200


async def ask(reranker: Reranker, number: int) -> tuple[int, list[float] | RerankError]:
    try:
        found = await reranker.ascore(f"question {number}", documents_of(number))
    except RerankError as error:
        return number, error
    return number, found


def documents_of(number: int) -> list[str]:
    return [f"the answer to question {number}", f"passage {number} about something else"]


async def test_every_request_ends_in_a_right_answer_or_a_clear_error(
    running: Servers, tiny: Reranker
) -> None:
    url = running.urls["untemplated"]
    port = int(url.rsplit(":", 1)[1])
    wanted = [tiny.score(f"question {n}", documents_of(n)) for n in range(QUERIES)]
    options = {"tokenizer": BUNDLED, "max_retries": 1, "max_concurrency": 4, "total_timeout": 30.0}
    outcomes: Counter[str] = Counter()

    def judge(number: int, outcome: list[float] | RerankError) -> None:
        if isinstance(outcome, RemoteError):
            assert str(port) in str(outcome)  # it says who did not answer
            outcomes["error"] += 1
        else:
            assert outcome == pytest.approx(wanted[number], abs=1e-4)
            outcomes["right"] += 1

    async with Reranker(MODEL_NAME, base_url=url, **options) as reranker:
        await reranker.ascore("warm up", ["warm up"])
        tasks = [asyncio.create_task(ask(reranker, number)) for number in range(QUERIES)]
        for answered in asyncio.as_completed(tasks[: QUERIES // 10]):
            judge(*await answered)
        for process in _processes_listening_on(port):
            os.kill(process, signal.SIGKILL)
        for task in tasks[QUERIES // 10 :]:
            judge(*await task)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{url}/health", timeout=2)
        assert outcomes["right"] >= QUERIES // 10
        assert outcomes["error"] > 0
        assert outcomes.total() == QUERIES

        running.start_again("untemplated")
        for number in range(20):
            judge(*await ask(reranker, number))
    assert outcomes.total() == QUERIES + 20
    assert outcomes["right"] >= QUERIES // 10 + 20


def _processes_listening_on(port: int) -> list[int]:
    """Return the process that listens on a loopback port, by /proc."""
    inodes = set()
    with open("/proc/net/tcp") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    found = []
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            names = {
                os.readlink(f"/proc/{process}/fd/{fd}") for fd in os.listdir(f"/proc/{process}/fd")
            }
        except OSError:
            continue
        if names & inodes:
            found.append(int(process))
    return found
