"""The service as a process: under load, with faults, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.services import MAX_LENGTH, Process

from shared_core import Reranker

CLIENTS = 64
KEY = "load-key"
WORDS = ["red", "planet", "mars", "venus", "moon", "star", "dust", "火星", "poem", "stone"]


@pytest.fixture(scope="module")
def process(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service of the random checkpoint; its key comes by the environment."""
    process = Process(
        tmp_path_factory.mktemp("service") / "log",
        *("--model", str(checkpoint), "--max-length", str(MAX_LENGTH), "--dtype", "float32"),
        QWEN3_RERANK_SERVE_KEYS=KEY,
        QWEN3_RERANK_SHUTDOWN_DELAY="1",
    )
    yield process
    process.kill()


def body(number: int) -> dict[str, Any]:
    """Request number so-and-so: all differ in query, documents, number of them and instruction."""
    chance = random.Random(number)
    documents = [
        " ".join(chance.choices(WORDS, k=chance.randint(1, 12))) for _ in range(number % 6 + 1)
    ]
    instruction = f"Find {chance.choice(WORDS)}"
    return {"query": f"question {number}", "documents": documents, "instruction": instruction}


def check(reply: dict[str, Any], sent: dict[str, Any], reranker: Reranker) -> None:
    direct = reranker.rerank(sent["query"], sent["documents"], instruction=sent["instruction"])
    by_index = {one.index: one for one in direct}
    rows = reply["results"]
    assert sorted(row["index"] for row in rows) == list(range(len(direct)))
    for row in rows:
        assert row["document"] == by_index[row["index"]].document
        assert row["score"] == pytest.approx(by_index[row["index"]].score, abs=2e-6)
    assert [row["logit"] for row in rows] == sorted((row["logit"] for row in rows), reverse=True)
    assert reply["usage"]["prompt_tokens"] == sum(one.n_tokens or 0 for one in direct)


def resident_megabytes(process: Process) -> float:
    status = Path(f"/proc/{process.popen.pid}/status")
    if not status.exists():
        pytest.skip("needs Linux, which has /proc")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def fault(client: httpx.AsyncClient, number: int) -> None:
    """Something that a client should not do."""
    kind = number % 4
    if kind == 0:
        many = {"query": f"gone {number}", "documents": [f"{i} " * 30 for i in range(99)]}
        with contextlib.suppress(httpx.TimeoutException):  # it was answered before it hung up
            await client.post("/rerank", json=many, timeout=0.01)
    elif kind == 1:
        reply = await client.post("/rerank", content=b'{"query": "q", "documents": [')
        assert reply.status_code in (415, 422)
    elif kind == 2:
        reply = await client.post("/rerank", json={"query": "too long " * 300, "documents": ["a"]})
        assert reply.status_code == 422
    else:
        reply = await client.post("/rerank", json=body(1), headers={"authorization": "no"})
        assert reply.status_code == 401


async def load(process: Process, first: int, each: int) -> dict[int, dict[str, Any]]:
    """Ask with many clients at once, a fault after every third request."""
    replies: dict[int, dict[str, Any]] = {}
    # No connection expires here: httpcore may close one for its age that it has just given away.
    limits = httpx.Limits(max_connections=CLIENTS, keepalive_expiry=None)
    broken = 0
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        base_url=process.url, timeout=60, limits=limits, headers=headers
    ) as client:

        async def ask(number: int) -> httpx.Response:
            """Ask again if the connection broke, as clients do; that has to be rare."""
            nonlocal broken
            try:
                return await client.post("/rerank", json=body(number))
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                broken += 1
                return await client.post("/rerank", json=body(number))

        async def one(start: int) -> None:
            for number in range(start, start + each):
                reply = await ask(number)
                assert reply.status_code == 200, reply.text
                replies[number] = reply.json()
                if number % 3 == 0:
                    with contextlib.suppress(httpx.NetworkError, httpx.RemoteProtocolError):
                        await fault(client, number // 3)

        await asyncio.gather(*(one(first + client * each) for client in range(CLIENTS)))
    assert broken <= CLIENTS * each // 50 + 1, f"{broken} connections broke"
    return replies


def test_under_load_with_faults(process: Process, reranker: Reranker) -> None:
    """Every reply equals the direct scores, none is lost, none mixed up; memory stays."""
    process.wait_until_ready()
    replies = asyncio.run(load(process, 0, 1))
    before = resident_megabytes(process)
    replies |= asyncio.run(load(process, 10_000, 3))
    growth = resident_megabytes(process) - before
    assert len(replies) == CLIENTS * 4
    for number, reply in replies.items():
        check(reply, body(number), reranker)
    assert growth < 64, f"{growth:.0f} MB more after the load"
    text = httpx.get(f"{process.url}/metrics", headers={"x-api-key": KEY}).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    assert float(values["qwen3_rerank_queue_requests"]) == 0
    shared = float(values["qwen3_rerank_batch_requests_sum"])
    assert shared / float(values["qwen3_rerank_batch_requests_count"]) > 2, "nothing was shared"
    assert not any("Traceback" in line for line in process.log.read_text().splitlines())
    assert KEY not in process.log.read_text()


def test_its_end_under_load(process: Process, reranker: Reranker) -> None:
    """After SIGTERM: what was accepted is answered, the rest is told so, and it exits with 0."""
    process.wait_until_ready()
    outcomes: Counter[str] = Counter()
    replies: dict[int, dict[str, Any]] = {}
    readiness: list[int] = []
    headers = {"authorization": f"Bearer {KEY}"}

    async def main() -> None:
        async with httpx.AsyncClient(base_url=process.url, timeout=60, headers=headers) as client:

            async def ask(start: int) -> None:
                for number in range(start, start + 1000):
                    try:
                        reply = await client.post("/rerank", json=body(number))
                    except httpx.ConnectError:
                        outcomes["no connection"] += 1
                        return
                    except httpx.TransportError:
                        # The kernel resets what was still in its queue when the port closed.
                        outcomes["reset"] += 1
                        return
                    outcomes[str(reply.status_code)] += 1
                    if reply.status_code == 200:
                        replies[number] = reply.json()
                    else:
                        assert reply.status_code == 503
                        assert "shutting down" in reply.json()["detail"]
                        assert reply.headers["retry-after"]
                        assert reply.headers["connection"] == "close"
                        await asyncio.sleep(0.01)

            async def watch() -> None:
                while True:
                    try:
                        readiness.append((await client.get("/health/ready")).status_code)
                    except httpx.TransportError:
                        return
                    await asyncio.sleep(0.02)

            tasks = [asyncio.create_task(ask(20_000 + 1000 * n)) for n in range(16)]
            tasks.append(asyncio.create_task(watch()))
            await asyncio.sleep(0.5)
            process.terminate()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert process.popen.wait(20) == 0
    # How many come between the last accepted one and the closed port is up to the scheduler.
    assert {"200"} <= set(outcomes) <= {"200", "503", "no connection", "reset"}, outcomes
    assert outcomes["no connection"] + outcomes["reset"] == 16
    for number, reply in replies.items():
        check(reply, body(number), reranker)
    assert readiness[0] == 200
    assert sorted(readiness) == readiness, "readiness says no once and for all"
    assert readiness[-1] == 503
    assert "Traceback" not in process.log.read_text()
