"""Speed of the service under many clients, compared with `rerank_many`.

The same work, by turns: 64 queries of 8 documents in one call of `rerank_many`, and the same 64 as
requests of as many clients at once, to a service that runs as a process of its own::

    python -m benchmarks.service_load --model tiny --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time

import httpx

from benchmarks.fault_processes import Service
from shared_core import Reranker

WORDS = ["the", "red", "planet", "is", "cold", "and", "dry", "while", "moons", "are", "small"]


def make_work(n_queries: int, n_documents: int, n_words: int) -> list[tuple[str, list[str]]]:
    """Return queries with documents, all different."""
    chance = random.Random(0)

    def text(length: int) -> str:
        return " ".join(chance.choices(WORDS, k=length))

    return [
        (f"question {number}: {text(8)}", [text(n_words) for _ in range(n_documents)])
        for number in range(n_queries)
    ]


async def ask_all(client: httpx.AsyncClient, work: list[tuple[str, list[str]]]) -> list[list[int]]:
    """Return the order of each query's documents, asked for all at once."""

    async def ask(query: str, documents: list[str]) -> list[int]:
        body = {"query": query, "documents": documents, "return_documents": False}
        reply = await client.post("/rerank", json=body)
        reply.raise_for_status()
        return [row["index"] for row in reply.json()["results"]]

    return list(await asyncio.gather(*(ask(*asked) for asked in work)))


async def metrics(client: httpx.AsyncClient) -> dict[str, float]:
    """Return the service's numbers by name."""
    text = (await client.get("/metrics")).text
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
    return {name: float(value) for name, value in pairs}


async def measure(url: str, reranker: Reranker, work: list[tuple[str, list[str]]], n: int) -> None:
    """Print the seconds of both, by turns, and their ratio."""
    queries, lists = [query for query, _ in work], [documents for _, documents in work]
    direct_seconds, served_seconds, direct_cpu, served_cpu = [], [], [], []
    limits = httpx.Limits(max_connections=len(work), max_keepalive_connections=len(work))
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        for turn in range(n + 1):
            cpu_before = (await metrics(client))["process_cpu_seconds_total"]
            cpu_started = time.process_time()
            started = time.perf_counter()
            direct = reranker.rerank_many(queries, lists)
            between = time.perf_counter()
            cpu_between = time.process_time()
            served = await ask_all(client, work)
            ended = time.perf_counter()
            cpu_after = (await metrics(client))["process_cpu_seconds_total"]
            if turn:  # the first one warms both up
                direct_seconds.append(between - started)
                served_seconds.append(ended - between)
                direct_cpu.append(cpu_between - cpu_started)
                served_cpu.append(cpu_after - cpu_before)
            same = sum(
                [document.index for document in ranked] == order
                for ranked, order in zip(direct, served, strict=True)
            )
        values = await metrics(client)
    batches = values["qwen3_rerank_batch_documents_count"]
    documents = values["qwen3_rerank_batch_documents_sum"]
    tokens = sum(document.n_tokens or 0 for ranked in direct for document in ranked)
    both = [statistics.median(direct_seconds), statistics.median(served_seconds)]
    print(f"{len(work)} queries, {sum(map(len, lists))} documents, {tokens} prompt tokens")
    print(f"rerank_many  {both[0]:.3f} s  ({min(direct_seconds):.3f} at best)")
    print(f"service      {both[1]:.3f} s  ({min(served_seconds):.3f} at best)")
    ratios = [a / b for a, b in zip(direct_seconds, served_seconds, strict=True)]
    print(f"throughput of the service: {statistics.median(ratios):.0%} of rerank_many's")
    cpu = statistics.median(a / b for a, b in zip(direct_cpu, served_cpu, strict=True))
    print(f"the same by CPU seconds, which other processes disturb less: {cpu:.0%}")
    print(f"same order in {same} of {len(work)}; {documents / batches:.0f} documents in a batch")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--documents", type=int, default=8)
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    work = make_work(given.clients, given.documents, given.words)
    service = Service(given.model, ("--dtype", given.dtype))
    service.start()
    try:
        service.wait_until_ready()
        url = f"http://127.0.0.1:{service.port}"
        with Reranker(given.model, dtype=given.dtype, device="cpu") as reranker:
            asyncio.run(measure(url, reranker, work, given.rounds))
    finally:
        service.kill()


if __name__ == "__main__":
    main()
