"""A server is sent no more than what is needed: counted, document by document."""

from __future__ import annotations

from typing import Any

import pytest
from support.remote_cases import Connect, Serve
from support.remote_oracle import Oracle
from support.rerank_server import RerankServer
from support.served_engines import Tei

QUERY = "red planet"
DOCUMENTS = ["Mars is red.", "Venus is hot.", "Mars is red.", "Saturn has rings.", "Nothing."]
DISTINCT = [*dict.fromkeys(DOCUMENTS)]


@pytest.fixture
def server(serve: Serve, oracle: Oracle) -> RerankServer:
    return serve(Tei(oracle))


def sent(server: RerankServer) -> list[str]:
    """Return the documents that it was sent since the last time."""
    texts = [text for body in server.bodies if "texts" in body for text in body["texts"]]
    server.seen.clear()
    return [text.removeprefix("<Document>: ").partition("<|im_end|>")[0] for text in texts]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 1},
        {"top_k": 1, "score_threshold": 0.99},
        {"top_k": 2, "score_threshold": 0.99, "min_docs": 1},
        {"fusion": "rrf", "top_k": 1},
    ],
)
async def test_each_distinct_document_once_whatever_is_kept(
    server: RerankServer, connect: Connect, options: dict[str, Any]
) -> None:
    """No more and no less: any of them could be the best."""
    remote = connect(server)
    remote.load()
    sent(server)
    remote.rerank(QUERY, DOCUMENTS, **options)
    assert sorted(sent(server)) == sorted(DISTINCT)
    await remote.arerank(QUERY, DOCUMENTS, **options)
    assert sorted(sent(server)) == sorted(DISTINCT)


async def test_equal_queries_share_and_what_is_known_or_no_candidate_is_not_sent(
    server: RerankServer, connect: Connect
) -> None:
    remote = connect(server, cache_size=99)
    remote.load()
    sent(server)
    lists = [DOCUMENTS[:2], DOCUMENTS[1:4], []]
    many = remote.rerank_many([QUERY] * 3, lists, top_k=1, score_threshold=0.5)
    assert sorted(sent(server)) == sorted({*DOCUMENTS[:4]})
    again = await remote.arerank_many([QUERY] * 3, lists, top_k=1, score_threshold=0.5)
    assert sent(server) == []
    assert again == many
    remote.rerank(QUERY, ["New.", *DOCUMENTS, "Behind."], max_candidates=2, score_threshold=0.5)
    assert sent(server) == ["New."]
    remote.rerank(QUERY, [])
    assert not server.seen
    other = connect(server)
    other.load()
    sent(server)
    separate = [other.rerank(QUERY, some) for some in lists]
    sent(server)
    assert other.rerank_many([QUERY] * 3, lists) == separate
    assert len(sent(server)) == 3
    await other.arerank(QUERY, DISTINCT, time_budget=1e-9, top_k=1)
    assert sorted(sent(server)) == sorted(DISTINCT[:4])
