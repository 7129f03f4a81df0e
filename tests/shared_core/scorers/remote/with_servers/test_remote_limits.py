"""What a server can take: documents, bytes and tokens of one request, tokens of one prompt."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from parity import reference
from support.remote_cases import Connect, Serve
from support.remote_oracle import Oracle
from support.served_engines import Tei
from support.served_gateways import OwnService
from support.served_vllm import VllmGenerate, VllmPooling

from shared_core import QueryTooLongError, Reranker, ServerStatusError
from shared_core.scorers.remote.dialects.servers import Compatible
from shared_core.scorers.remote.dialects.servers import Tei as TeiDialect

LONG = "Mars is the red planet, and it has two moons. " * 60
FITTING = "Venus is hot."
DOCUMENTS = [f"Document {number}: {'Mars ' * (number % 7)}" for number in range(70)]


def test_documents_beyond_the_limit_go_in_several_requests(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    server = serve(Tei(oracle, templated=True))
    remote = connect(server, template="server-fixed")
    assert remote.score("q", DOCUMENTS) == pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    assert sorted(len(body["texts"]) for body in server.bodies) == [6, 32, 32]


@pytest.mark.parametrize("kind", [Tei, OwnService])
def test_the_limit_that_a_server_states_is_kept(
    kind: Any, serve: Serve, connect: Connect, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tei, "most", 10)
    server = serve(kind(oracle))
    assert len(connect(server).score("q", DOCUMENTS[:25])) == 25
    sizes = [len(body.get("texts") or body["documents"]) for body in server.bodies]
    assert sorted(sizes)[-3:] == [5, 10, 10]


class Narrow(TeiDialect):
    name = "narrow"
    max_bytes = 3000


def test_bytes_beyond_the_limit_go_in_several_requests(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    server = serve(Tei(oracle, templated=True))
    documents = ["é" * length for length in range(1, 400, 20)]
    remote = connect(server, dialect=Narrow(), template="server-fixed")
    assert remote.score("q", documents) == pytest.approx(reranker.score("q", documents), abs=1e-6)
    sizes = [int(seen.headers["content-length"]) for seen in server.posts]
    assert max(sizes) <= 3000
    assert len(sizes) > 2


def test_many_queries_are_joined_to_their_own_documents(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    server = serve(Tei(oracle, templated=True))
    queries = ["red planet", "hot planet", "moons"]
    lists = [DOCUMENTS[:40], [], DOCUMENTS[5:9] * 2]
    expected = reranker.rerank_many(queries, lists, top_k=5)
    found = connect(server, template="server-fixed").rerank_many(queries, lists, top_k=5)
    assert [[one.index for one in ranked] for ranked in found] == [
        [one.index for one in ranked] for ranked in expected
    ]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (VllmPooling, {}),
        (VllmPooling, {"dialect": "vllm-rerank", "template": "server"}),
        (VllmGenerate, {}),
    ],
)
def test_a_long_document_is_cut_here_and_the_end_of_the_prompt_stays(
    kind: Any, options: dict[str, Any], serve: Serve, connect: Connect, oracle: Oracle,
    checkpoint: Path,
) -> None:  # fmt: skip
    """The test server refuses what is too long, as vLLM does: 400, nothing scored."""
    server = serve(kind(oracle))
    bound = 299 if kind is VllmGenerate else 300
    server.kind.max_model_len = 300  # type: ignore[attr-defined]
    local = Reranker(str(checkpoint), dtype="float32", device="cpu", max_length=bound)
    expected = local.rerank("red planet?", [LONG, FITTING])
    found = connect(server, tokenizer=str(checkpoint), **options).rerank(
        "red planet?", [LONG, FITTING]
    )
    assert [one.logit for one in found] == pytest.approx([one.logit for one in expected], abs=1e-5)
    assert found == [
        replace(one, score=there.score, logit=there.logit)
        for one, there in zip(expected, found, strict=True)
    ]
    by_index = {one.index: one for one in found}
    assert (by_index[0].n_tokens, by_index[0].truncated) == (bound, True)
    assert by_index[1].truncated is False


@pytest.mark.parametrize("dialect", ["vllm-rerank", "vllm-score"])
def test_a_wrapped_document_is_cut_before_its_suffix(
    dialect: str, serve: Serve, connect: Connect, oracle: Oracle, checkpoint: Path
) -> None:
    server = serve(VllmPooling(oracle, templating="none"))
    remote = connect(server, tokenizer=str(checkpoint), dialect=dialect, max_length=200)
    (found,) = remote.rerank("red planet?", [LONG])
    body = server.bodies[-1]
    query, document = (body.get(name) for name in ("query", "documents"))
    query, document = query or body["text_1"], (document or body["text_2"])[0]
    assert document.endswith(reference.SUFFIX)
    assert document.startswith("<Document>: Mars is the red planet")
    assert len(oracle.ids(query + document)) == found.n_tokens == 200
    assert found.truncated is True


def test_a_server_that_can_cut_documents_is_asked_to_where_no_tokenizer_is_at_hand(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """By ``max_tokens_per_doc``: ``truncate_prompt_tokens`` would cut the end of the prompt."""
    server = serve(VllmPooling(oracle))
    remote = connect(server, dialect="vllm-rerank", template="server")
    (found,) = remote.rerank("red planet?", [LONG * 3])
    assert 0 < server.bodies[-1]["max_tokens_per_doc"] < 1024 - 72
    assert (found.n_tokens, found.truncated) == (None, None)
    remote.score("red planet?", [FITTING])
    assert "max_tokens_per_doc" not in server.bodies[-1]


def test_a_prompt_that_is_too_long_without_a_tokenizer_is_an_error_that_says_what_to_do(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    remote = connect(serve(VllmPooling(oracle)))
    with pytest.raises(ServerStatusError, match=r"maximum context length.*give tokenizer="):
        remote.score("red planet?", [LONG * 3])


def test_a_query_that_leaves_no_room_is_refused_before_anything_is_sent(
    serve: Serve, connect: Connect, oracle: Oracle, checkpoint: Path
) -> None:
    server = serve(VllmPooling(oracle))
    remote = connect(server, tokenizer=str(checkpoint), max_length=128)
    with pytest.raises(QueryTooLongError):
        remote.score("red planet? " * 50, [FITTING])
    assert all(seen.path == "/tokenize" for seen in server.posts)


class Certain(Compatible):
    name = "certain"
    documented = "server-fixed"


def test_ties_keep_the_servers_own_order(serve: Serve, connect: Connect) -> None:
    """A server sorts by logit and reports probabilities: many are exactly 1."""

    class Server:
        def answer(self, seen: Any) -> Any:
            from support.rerank_server import Answer

            order, scores = [2, 0, 3, 1, 4], [1.0, 1.0, 1.0, 0.25, 0.25]
            rows = [
                {"index": index, "relevance_score": score}
                for index, score in zip(order, scores, strict=True)
            ]
            return Answer({"results": rows})

    found = connect(serve(Server()), dialect=Certain()).rerank("q", list("abcde"))
    assert [one.index for one in found] == [2, 0, 3, 1, 4]
    assert [one.score for one in found] == [1.0, 1.0, 1.0, 0.25, pytest.approx(0.25)]


def test_requests_begin_no_faster_than_asked_for(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """Of eleven requests the last begins half a second after the first, or later."""
    server = serve(Tei(oracle, templated=True))
    remote = connect(server, dialect=One(), template="server-fixed", requests_per_second=20)
    start = time.monotonic()
    remote.score("q", DOCUMENTS[:11])
    assert time.monotonic() - start >= 0.5
    assert len(server.posts) == 11


class One(TeiDialect):
    name = "one"
    max_documents = 1


def test_waiting_for_ones_own_requests_takes_no_time_from_a_request(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """All requests one after the other take longer than one may; none of them is late."""
    server = serve(Tei(oracle, templated=True))
    server.fault = lambda seen, answer: time.sleep(0.02) or answer
    remote = connect(
        server, dialect=One(), template="server-fixed", max_concurrency=1, total_timeout=1.0
    )
    assert len(remote.score("q", DOCUMENTS)) == len(DOCUMENTS)
