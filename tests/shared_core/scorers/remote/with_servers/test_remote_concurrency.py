"""Many calls at once, from one event loop and from several; bounded, cancellable, closable."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.remote_cases import Connect, Serve
from support.remote_oracle import Oracle
from support.rerank_server import Answer, Mishap, RerankServer, Seen
from support.served_engines import Tei
from support.served_vllm import VllmPooling
from support.waiting import until

from shared_core import ClosedError, Reranker, ServerStatusError, ServerUnreachableError

QUERIES = ["red planet", "hot planet", "rings"]
DOCUMENTS = ["Mars is red.", "Venus is hot.", "Saturn has rings.", "Nothing."]


@pytest.fixture(scope="module")
def expected(reranker: Reranker) -> dict[str, list[int]]:
    return {q: [one.index for one in reranker.rerank(q, DOCUMENTS)] for q in QUERIES}


async def many(remote: Reranker, calls: int) -> list[tuple[str, list[int]]]:
    async def one(query: str) -> tuple[str, list[int]]:
        return query, [found.index for found in await remote.arerank(query, DOCUMENTS)]

    return list(await asyncio.gather(*(one(QUERIES[i % 3]) for i in range(calls))))


def test_a_thousand_calls_on_one_loop_are_all_right_over_few_connections(
    serve: Serve, connect: Connect, oracle: Oracle, expected: dict[str, list[int]]
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server, max_concurrency=5)
    found = asyncio.run(many(remote, 1000))
    assert len(found) == 1000
    assert all(order == expected[query] for query, order in found)
    assert server.most_connections <= 5
    assert len([seen for seen in server.posts if seen.path == "/classify"]) == 1000
    assert len([seen for seen in server.seen if seen.path == "/v1/models"]) == 1


def test_a_thousand_calls_from_four_loops_in_four_threads(
    serve: Serve, connect: Connect, oracle: Oracle, expected: dict[str, list[int]]
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server, max_concurrency=3)
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(asyncio.run, many(remote, 250)) for _ in range(4)]
        found = [pair for job in jobs for pair in job.result()]
    assert len(found) == 1000
    assert all(order == expected[query] for query, order in found)
    assert server.most_connections <= 4 * 3


def test_sync_callers_in_many_threads_share_one_pool(
    serve: Serve, connect: Connect, oracle: Oracle, expected: dict[str, list[int]]
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server, max_concurrency=3)
    with ThreadPoolExecutor(16) as threads:
        orders = list(threads.map(lambda i: remote.rerank(QUERIES[i % 3], DOCUMENTS), range(60)))
    for i, ranked in enumerate(orders):
        assert [one.index for one in ranked] == expected[QUERIES[i % 3]]
    assert server.most_connections <= 3


def test_sync_calls_work_inside_of_a_running_loop(
    serve: Serve, connect: Connect, oracle: Oracle, expected: dict[str, list[int]]
) -> None:
    remote = connect(serve(VllmPooling(oracle)))

    async def call() -> list[int]:
        return [one.index for one in remote.rerank(QUERIES[0], DOCUMENTS)]

    assert asyncio.run(call()) == expected[QUERIES[0]]


def test_one_loop_after_another_leaves_no_connections(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """As web frameworks and notebooks do: ``asyncio.run`` for each call."""
    server = serve(VllmPooling(oracle))
    remote = connect(server)
    for _ in range(20):
        asyncio.run(remote.arerank("q", DOCUMENTS))
    gc.collect()
    until(lambda: server.open_connections <= 2)


def test_cancelling_a_call_closes_its_request_and_no_other(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server)

    def stall_slow(seen: Seen, answer: Answer) -> Mishap:
        return "stall" if "slow" in str(seen.body) else answer

    async def run() -> None:
        await remote.arerank("q", DOCUMENTS)
        server.fault = stall_slow
        slow = asyncio.create_task(remote.arerank("q", ["slow"]))
        while not server.stalled.is_set():
            await asyncio.sleep(0.005)
        quick = asyncio.create_task(remote.arerank("q", DOCUMENTS))
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert len(await quick) == len(DOCUMENTS)
        assert await asyncio.to_thread(server.hung_up.wait, 5)

    asyncio.run(run())
    assert len([seen for seen in server.posts if "slow" in str(seen.body)]) == 1


def test_an_interrupt_closes_the_request_and_leaves_the_reranker_usable(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server)

    def interrupt(seen: Seen, answer: Answer) -> Mishap:
        if "slow" not in str(seen.body):
            return answer
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return "stall"

    expected = remote.rerank("q", DOCUMENTS)
    server.fault = interrupt
    with pytest.raises(KeyboardInterrupt):
        remote.rerank("q", ["slow"])
    assert server.hung_up.wait(60)
    assert remote.rerank("q", DOCUMENTS) == expected
    assert len([seen for seen in server.posts if "slow" in str(seen.body)]) == 1


async def test_a_server_is_sent_no_more_than_there_is_time_for(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server)
    documents = [f"Mars is red, {number}." for number in range(20)]
    whole = await remote.arerank("q", documents)
    before = len(server.posts)
    ranking = await remote.arerank("q", documents, time_budget=1e-9)
    assert [found.scored for found in ranking] == [True] * 4 + [False] * 16
    assert len(server.posts) == before + 1
    assert await remote.arerank("q", documents, time_budget=1000) == whole


async def test_evidence_is_one_more_request(serve: Serve, connect: Connect, oracle: Oracle) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server)
    documents = ["Mars is red. Ice is cold. Venus is hot.", "Tea is hot. Cups vary."]
    await remote.ascore("q", ["warm"])
    before = len(server.posts)
    ranking = await remote.arerank("red planet", documents, evidence=True)
    assert len(server.posts) == before + 2
    scores = await remote.ascore(
        "red planet", [str(d.evidence and d.evidence.text) for d in ranking]
    )
    assert [found.evidence and found.evidence.score for found in ranking] == pytest.approx(scores)


def test_one_failure_cancels_the_other_requests_of_its_call(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(Tei(oracle, templated=True))
    remote = connect(server, template="server-fixed", max_retries=0)

    def fault(seen: Seen, answer: Answer) -> Mishap:
        if len(seen.body["texts"]) == 32:
            return "stall"
        server.stalled.wait(60)
        return Answer({"error": "no", "error_type": "Validation"}, 422)

    server.fault = fault
    with pytest.raises(ServerStatusError, match="422: no"):
        remote.score("q", [str(number) for number in range(33)])
    assert server.hung_up.wait(60)


@pytest.mark.parametrize("mishap", ["stall", "stall-in-body", "drip"])
def test_a_stalled_answer_is_given_up(
    mishap: Mishap, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server, timeout=1.0, max_retries=0)
    remote.score("q", DOCUMENTS)
    server.fault = lambda seen, answer: mishap
    with pytest.raises(ServerUnreachableError, match=r"no complete answer in 1 s"):
        remote.score("q", DOCUMENTS)
    assert server.hung_up.wait(60)


def test_the_total_bounds_all_attempts_and_waits(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """A server that asks to wait for an hour is not waited for, nor one that stalls each time."""
    server = serve(VllmPooling(oracle))
    remote = connect(server, total_timeout=2.0, max_retries=100)
    remote.score("q", DOCUMENTS)
    server.fault = lambda seen, answer: Answer({}, 429, {"retry-after": "3600"})
    with pytest.raises(ServerStatusError, match=r"429.*retry after 3600 s"):
        remote.score("q", DOCUMENTS)
    assert len([seen for seen in server.posts if seen.path == "/classify"]) == 2
    server.fault = lambda seen, answer: "stall"
    with pytest.raises(ServerUnreachableError):
        remote.score("q", DOCUMENTS)


def test_closing_ends_calls_under_way(serve: Serve, connect: Connect, oracle: Oracle) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server)
    remote.score("q", DOCUMENTS)
    server.fault = lambda seen, answer: "stall"
    errors: list[Exception] = []

    def call() -> None:
        try:
            remote.score("q", DOCUMENTS)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert server.stalled.wait(60)
    remote.close()
    thread.join(60)
    assert [type(error) for error in errors] == [ClosedError]
    assert server.hung_up.wait(60)
    with pytest.raises(ClosedError):
        remote.score("q", DOCUMENTS)


def test_closing_on_the_loop_that_was_used_leaves_no_connection(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(VllmPooling(oracle))

    async def run() -> None:
        async with connect(server) as remote:
            await many(remote, 20)
        with pytest.raises(ClosedError):
            await remote.arerank("q", DOCUMENTS)

    asyncio.run(run())
    until(lambda: server.open_connections == 0)


def ours() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("qwen3-rerank")}


def test_no_thread_is_left_behind(serve: Serve, connect: Connect, oracle: Oracle) -> None:
    before = ours()
    remote = connect(serve(VllmPooling(oracle)))
    remote.score("q", DOCUMENTS)
    assert ours() > before
    remote.close()
    until(lambda: ours() <= before)


def test_a_failing_query_of_many_passes_through_alone(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server, on_error="passthrough")

    def fault(seen: Seen, answer: Answer) -> Mishap:
        return Answer({"error": {"message": "no"}}, 400) if "bad" in str(seen.body) else answer

    server.fault = fault
    good, bad = remote.rerank_many(["good", "bad"], [DOCUMENTS, DOCUMENTS])
    assert all(one.error is None and one.score is not None for one in good)
    assert [one.document for one in bad] == DOCUMENTS
    assert all("answered 400: no" in str(one.error) and one.score is None for one in bad)


def _score_in_child(remote: Reranker, results: Any) -> None:
    results.put(remote.score("q", DOCUMENTS))


def test_a_forked_process_can_go_on(serve: Serve, connect: Connect, oracle: Oracle) -> None:
    """As prefork workers do that made and used the reranker before the fork."""
    remote = connect(serve(VllmPooling(oracle)))
    before = remote.score("q", DOCUMENTS)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_score_in_child, args=(remote, results))
    child.start()
    try:
        assert results.get(timeout=20) == before
    finally:
        child.kill()
        child.join()


def test_the_server_is_gone_between_two_calls(oracle: Oracle, connect: Connect) -> None:
    with RerankServer(VllmPooling(oracle)) as server:
        remote = connect(server, max_retries=0)
        remote.score("q", DOCUMENTS)
        server.fault = lambda seen, answer: "drop"
        with pytest.raises(ServerUnreachableError):
            remote.score("q", DOCUMENTS)
    with pytest.raises(ServerUnreachableError):
        remote.score("q", ["another"])
