"""Requests that come together are scored together, and no one pays for another's mistake."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from support.waiting import until

from qwen3_rerank.service.batching import QueueFullError, Scheduler
from qwen3_rerank.service.metrics import Metrics
from shared_core import Reranker, Scored, ScoreRequest


class Gate:
    """A scorer that says when, and notes what it was given. A margin is the document's length."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[list[tuple[str, int]]] = []
        self.last = 0

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        (scored,) = self.score_many([ScoreRequest(query, instruction, documents)])
        return [one.logit for one in scored]

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        if requests[0].query != "What is the capital of China?":
            self.batches.append([(one.query, len(one.documents)) for one in requests])
            assert self.open.wait(20)
        if any("poison" in one.query for one in requests):
            raise ValueError("poison")
        return [[Scored(float(len(text)), 100, False) for text in x.documents] for x in requests]

    def unload(self) -> None:
        pass


@pytest.fixture
def gate() -> Gate:
    return Gate()


def ask(url: str, query: str = "q", n: int = 8, **more: Any) -> httpx.Response:
    documents = [f"{query} {'x' * i}" for i in range(n)]
    return httpx.post(f"{url}/rerank", json={"query": query, "documents": documents} | more)


def start(count: int, call: Any) -> list[threading.Thread]:
    threads = [threading.Thread(target=call, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_what_waits_is_scored_at_once(run: Any, gate: Gate) -> None:
    running = run(Reranker(scorer=gate))
    replies: dict[int, Any] = {}

    def call(number: int) -> None:
        replies[number] = ask(running.url, f"query {number}").json()["results"]

    threads = start(1, call)
    until(lambda: gate.batches)
    threads += start(20, lambda number: call(number + 1))
    until(lambda: running.service.metrics.queued_requests._value.get() == 21)
    gate.open.set()
    for thread in threads:
        thread.join()
    assert len(gate.batches) == 2
    assert len(gate.batches[1]) == 20
    for number, rows in replies.items():
        assert [row["index"] for row in rows] == list(range(7, -1, -1))
        assert all(row["document"].startswith(f"query {number} ") for row in rows)
        assert all(row["logit"] == len(row["document"]) for row in rows)


def test_a_poisoned_request_fails_alone(run: Any, gate: Gate) -> None:
    running = run(Reranker(scorer=gate))
    statuses: dict[int, int] = {}

    def call(number: int) -> None:
        query = "poison" if number == 3 else f"query {number}"
        statuses[number] = ask(running.url, query).status_code

    threads = start(1, call)
    until(lambda: gate.batches)
    threads += start(8, lambda number: call(number + 1))
    until(lambda: running.service.metrics.queued_requests._value.get() == 9)
    gate.open.set()
    for thread in threads:
        thread.join()
    assert statuses == {number: 500 if number == 3 else 200 for number in range(9)}


def test_a_large_request_does_not_keep_small_ones_waiting(run: Any, gate: Gate) -> None:
    """It is scored in slices, in turn with the others."""
    running = run(Reranker(scorer=gate), max_batch_tokens=1000)
    done: list[str] = []

    def call(number: int) -> None:
        reply = ask(running.url, f"query {number}", n=2 if number else 900)
        assert len(reply.json()["results"]) == (2 if number else 900)
        done.append("small" if number else "large")

    threads = start(1, call)
    until(lambda: gate.batches)
    threads += start(9, lambda number: call(number + 1))
    until(lambda: running.service.metrics.queued_requests._value.get() == 10)
    gate.open.set()
    for thread in threads:
        thread.join()
    assert done[-1] == "large"
    assert max(sum(n for _, n in batch) for batch in gate.batches) < 110


def test_the_queue_is_bounded(run: Any, gate: Gate) -> None:
    running = run(Reranker(scorer=gate), max_queue=4)
    threads = start(4, lambda number: ask(running.url))
    until(lambda: running.service.metrics.queued_requests._value.get() == 4)
    refused = ask(running.url)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert httpx.get(f"{running.url}/health/ready").status_code == 200
    gate.open.set()
    for thread in threads:
        thread.join()
    assert ask(running.url).status_code == 200


def test_no_key_fills_the_queue_alone(run: Any, gate: Gate) -> None:
    """It may have three quarters; the rest is for the others."""
    running = run(Reranker(scorer=gate), max_queue=4, serve_keys=("many", "few"))

    def call(key: str) -> httpx.Response:
        headers = {"x-api-key": key}
        body = {"query": "q", "documents": ["a", "b"]}
        return httpx.post(f"{running.url}/rerank", json=body, headers=headers, timeout=30)

    threads = start(3, lambda number: call("many"))
    until(lambda: running.service.metrics.queued_requests._value.get() == 3)
    assert call("many").status_code == 429
    threads += start(1, lambda number: call("few"))
    until(lambda: running.service.metrics.queued_requests._value.get() == 4)
    assert call("few").status_code == 429
    gate.open.set()
    for thread in threads:
        thread.join()
    assert call("many").status_code == call("few").status_code == 200


def test_documents_in_the_queue_are_bounded(run: Any, gate: Gate) -> None:
    running = run(Reranker(scorer=gate), max_queued_documents=10)
    threads = start(1, lambda number: ask(running.url, n=50))
    until(lambda: gate.batches)
    assert ask(running.url, n=1).status_code == 429
    gate.open.set()
    for thread in threads:
        thread.join()


def test_who_hangs_up_frees_the_place(run: Any, gate: Gate) -> None:
    running = run(Reranker(scorer=gate), max_queue=3, max_batch_tokens=500)

    def impatient(number: int) -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{running.url}/rerank",
                json={"query": "long", "documents": [f"{i}" for i in range(300)]},
                timeout=httpx.Timeout(60, read=1),
            )

    for thread in start(3, impatient):
        thread.join()
    until(lambda: running.service.metrics.queued_requests._value.get() == 0)
    gate.open.set()
    assert ask(running.url, "patient").status_code == 200
    long = [n for batch in gate.batches for query, n in batch if query == "long"]
    assert sum(long) < 100, "the model went on for those who had left"
    assert 'status="499"' in httpx.get(f"{running.url}/metrics").text


def test_a_batch_ends_when_nobody_waits_for_it_and_no_sooner() -> None:
    begun: list[str] = []
    cancelled: list[str] = []
    answering = asyncio.Event()

    async def score(requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        queries = [one.query for one in requests]
        begun.extend(queries)
        try:
            await answering.wait()
        except asyncio.CancelledError:
            cancelled.extend(queries)
            raise
        return [[Scored(1.0) for _ in one.documents] for one in requests]

    async def settled() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def main() -> None:
        scheduler = Scheduler(score, Metrics("0", "m"), wait=0, max_queue=9, max_documents=99)
        scheduler.budget = 200
        scheduler.start()
        many = [f"document {number}" for number in range(20)]  # more than fill a batch

        def sent(documents: list[str], *queries: str) -> list[asyncio.Task[list[list[Scored]]]]:
            requests = [ScoreRequest(query, "", documents) for query in queries]
            return [asyncio.create_task(scheduler.submit([request])) for request in requests]

        first, second = sent(["d"], "first", "second")
        await settled()
        (third,) = sent(many, "third")  # is handed over while the batch before it is being scored
        await settled()
        assert begun == ["first", "second", "third"]
        first.cancel()
        await settled()
        assert cancelled == []
        third.cancel()
        await settled()
        assert cancelled == ["third"]
        (fourth,) = sent(many, "fourth")  # has the place that this left
        await settled()
        assert begun[-1] == "fourth"
        second.cancel()
        await settled()
        assert cancelled == ["third", "first", "second"]
        answering.set()
        assert await fourth == [[Scored(1.0)] * len(many)]
        await scheduler.stop()

    asyncio.run(main())


def test_a_reply_that_takes_too_long(run: Any, gate: Gate) -> None:
    running = run(Reranker(scorer=gate), request_timeout=0.2)
    assert ask(running.url).status_code == 504
    assert running.service.metrics.queued_requests._value.get() == 0
    gate.open.set()


def test_no_batch_over_the_budget_and_none_much_under() -> None:
    """Whatever the sizes: each document is scored once, in batches of about one budget."""
    sizes: list[int] = []
    seen: list[str] = []

    async def score(requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        texts = [text for one in requests for text in one.documents]
        seen.extend(f"{one.query}/{text}" for one in requests for text in one.documents)
        sizes.append(sum(10 + len(text) // 4 for text in texts) + 60 * len(requests))
        await asyncio.sleep(0)
        return [[Scored(float(len(text))) for text in one.documents] for one in requests]

    async def main() -> None:
        scheduler = Scheduler(
            score, Metrics("0", "m"), wait=0.01, max_queue=99, max_documents=99999
        )
        scheduler.budget = 1000
        scheduler.start()
        requests = [
            ScoreRequest(f"q{q}", "", [f"{i}" + "x" * (13 * i % 400) for i in range(5 + 7 * q)])
            for q in range(30)
        ]
        answers = await asyncio.gather(*(scheduler.submit([one]) for one in requests))
        for request, (scored,) in zip(requests, answers, strict=True):
            assert [one.logit for one in scored] == [len(text) for text in request.documents]
        assert sorted(seen) == sorted(f"{x.query}/{text}" for x in requests for text in x.documents)
        await scheduler.stop()

    asyncio.run(main())
    assert max(sizes) <= 1000
    assert sum(sizes[:-1]) / len(sizes[:-1]) > 800


def test_equal_documents_are_scored_once_and_answered_each() -> None:
    seen: list[str] = []

    async def score(requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        seen.extend(text for one in requests for text in one.documents)
        return [[Scored(float(len(text))) for text in one.documents] for one in requests]

    async def main() -> list[list[Scored]]:
        scheduler = Scheduler(score, Metrics("0", "m"), wait=0, max_queue=9, max_documents=9)
        scheduler.start()
        answers = await scheduler.submit([ScoreRequest("q", "", ["a", "bb", "a"])])
        await scheduler.stop()
        return answers

    assert [one.logit for one in asyncio.run(main())[0]] == [1, 2, 1]
    assert seen == ["a", "bb"]


def test_a_full_queue_says_how_long_to_wait() -> None:
    async def score(requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        await asyncio.sleep(0.05)
        return [[Scored(1.0) for _ in one.documents] for one in requests]

    async def main() -> int:
        scheduler = Scheduler(score, Metrics("0", "m"), wait=0, max_queue=1, max_documents=10_000)
        scheduler.budget = 100
        scheduler.start()
        await scheduler.submit([ScoreRequest("q", "", ["learn"])])
        busy = asyncio.create_task(
            scheduler.submit([ScoreRequest("q", "", [str(i) for i in range(200)])])
        )
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFullError) as full:
            await scheduler.submit([ScoreRequest("q", "", ["late"])])
        busy.cancel()
        await scheduler.stop()
        return full.value.retry_after

    assert 4 <= asyncio.run(main()) <= 60


async def _noted_batches(
    submissions: Sequence[tuple[str | None, Sequence[ScoreRequest]]],
) -> list[list[str]]:
    """Return the queries of each batch, of submissions that all wait when the first begins."""
    batches: list[list[str]] = []

    async def score(requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        batches.append([one.query for one in requests])
        await asyncio.sleep(0)
        return [[Scored(float(len(text))) for text in one.documents] for one in requests]

    scheduler = Scheduler(score, Metrics("0", "m"), wait=0, max_queue=99, max_documents=99999)
    scheduler.budget = 1000
    waiting = [asyncio.create_task(scheduler.submit(sent, key)) for key, sent in submissions]
    await asyncio.sleep(0)
    scheduler.start()
    for task, (_, sent) in zip(waiting, submissions, strict=True):
        answers = await task
        assert [[one.logit for one in scored] for scored in answers] == [
            [len(text) for text in one.documents] for one in sent
        ]
    await scheduler.stop()
    return batches


def _pairs(name: str, count: int) -> list[ScoreRequest]:
    return [ScoreRequest(f"{name} {i}", "", [f"document {i}"]) for i in range(count)]


def _first_with(batches: Sequence[Sequence[str]], name: str) -> int:
    return next(i for i, batch in enumerate(batches) if any(x.startswith(name) for x in batch))


def test_a_submission_of_many_queries_has_one_turn() -> None:
    sent = [(None, _pairs("many", 300)), (None, _pairs("few", 2))]
    batches = asyncio.run(_noted_batches(sent))
    assert len(batches) > 20
    assert _first_with(batches, "few") == 0
    assert max(map(len, batches)) <= 14  # 60 tokens of prompt and 10 of document make 14 a batch


def test_keys_take_turns_before_submissions_do() -> None:
    """Forty submissions of a key leave half of each batch to a key with one."""
    busy = [("key 1", _pairs(f"busy{i}", 20)) for i in range(40)]
    batches = asyncio.run(_noted_batches([*busy, ("key 2", _pairs("calm", 28))]))
    calm = [sum(x.startswith("calm") for x in batch) for batch in batches]
    assert min(calm[:4]) >= 6  # of 13
    order = [_first_with(batches, f"busy{i} ") for i in range(40)]
    assert order == sorted(order)
    assert order[-1] < len(batches) / 2, "the submissions of a key take turns, too"


def test_turns_without_other_submissions_fill_the_batch() -> None:
    batches = asyncio.run(_noted_batches([("key 1", _pairs("many", 60))]))
    assert [len(batch) for batch in batches[:-1]] == [len(batches[0])] * (len(batches) - 1)
    assert len(batches[0]) in (13, 14)
