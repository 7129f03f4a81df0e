"""A wire format of the user's own: a class with build, parse, a name and a path."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from support.remote_cases import Connect, Serve
from support.remote_oracle import Oracle, sigmoid
from support.rerank_server import Answer, Seen

from shared_core import (
    InvalidReplyError,
    RemoteError,
    Reranker,
    RerankError,
    ScoringError,
)
from shared_core.scorers.remote.dialects.base import Batch, Parsed, Row

DOCUMENTS = ["Mars is red.", "Venus is hot.", "the answer is yes"]


class Acme:
    """The least that a dialect is."""

    name = "acme"
    path = "/api/judge"

    def build(self, batch: Batch) -> dict[str, Any]:
        return {"question": batch.query, "candidates": list(batch.documents)}

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        return Parsed([Row(index, value) for index, value in enumerate(reply["relevance"])])


class AcmeServer:
    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    def answer(self, seen: Seen) -> Answer:
        if (seen.method, seen.path) != ("POST", "/api/judge"):
            return Answer({"oops": "no such thing"}, 404)
        prompts = (
            self.oracle.prompt(None, seen.body["question"], document)
            for document in seen.body["candidates"]
        )
        return Answer({"relevance": [sigmoid(self.oracle.margin(ids)) for ids in prompts]})


@pytest.mark.parametrize("dialect", [Acme(), Acme], ids=["object", "class"])
def test_the_least_dialect_is_enough(
    dialect: Any, serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    remote = connect(serve(AcmeServer(oracle)), dialect=dialect, template="server-fixed")
    assert remote.score("q", DOCUMENTS) == pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)


def test_its_server_is_asked_nothing_else(serve: Serve, connect: Connect, oracle: Oracle) -> None:
    server = serve(AcmeServer(oracle))
    connect(server, dialect=Acme(), template="server-fixed").score("q", DOCUMENTS)
    assert [(seen.method, seen.path) for seen in server.seen] == [("POST", "/api/judge")]


def test_its_template_is_found_out(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    """It counts no tokens, but scores show it."""
    remote = connect(serve(AcmeServer(oracle)), dialect=Acme())
    expected = pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    assert remote.score("q", DOCUMENTS) == expected


class AcmePrompts(Acme):
    """Whole prompts, in requests of two."""

    templates = ("prompt",)
    documented = "prompt"
    max_documents = 2
    path = "/api/v2"

    def build(self, batch: Batch) -> dict[str, Any]:
        return {"prompts": batch.prompts}


def test_its_traits_are_heeded(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    class Server:
        def answer(self, seen: Seen) -> Answer:
            prompts = map(oracle.ids, seen.body["prompts"])
            return Answer({"relevance": [sigmoid(oracle.margin(ids)) for ids in prompts]})

    server = serve(Server())
    remote = connect(server, dialect=AcmePrompts())
    expected = reranker.score("q", DOCUMENTS, instruction="Find")
    assert remote.score("q", DOCUMENTS, instruction="Find") == pytest.approx(expected, abs=1e-6)
    assert sorted(len(body["prompts"]) for body in server.bodies) == [1, 2]


class Raising(Acme):
    def parse(self, reply: Any, batch: Batch) -> Parsed:
        raise KeyError(f"no score in {reply}")


class Wrong(Acme):
    """Returns whatever it is told to."""

    def __init__(self, parsed: Any) -> None:
        self.parsed = parsed

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        return self.parsed  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "dialect",
    [
        Raising(),
        Wrong(None),
        Wrong([0.1, 0.2, 0.3]),
        Wrong(Parsed([])),
        Wrong(Parsed([Row(index, "0.5") for index in range(3)])),  # type: ignore[arg-type]
        Wrong(Parsed([Row(index, float("nan")) for index in range(3)])),
        Wrong(Parsed([Row(str(index), 0.5) for index in range(3)])),  # type: ignore[arg-type]
        Wrong(Parsed([Row(0, 0.5)] * 3)),
    ],
)
def test_a_mistake_in_it_is_an_error_that_says_so(
    dialect: Acme, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    remote = connect(serve(AcmeServer(oracle)), dialect=dialect, template="server-fixed")
    with pytest.raises(InvalidReplyError, match="/api/judge: "):
        remote.score("q", DOCUMENTS)


def test_what_it_raises_is_shown_without_the_key(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    class Server:
        def answer(self, seen: Seen) -> Answer:
            return Answer({"you": seen.headers["authorization"]})

    remote = connect(
        serve(Server()), dialect=Raising(), template="server-fixed", api_key="sk-0123456789"
    )
    with pytest.raises(RemoteError, match=r"KeyError.*Bearer \*\*\*") as caught:
        remote.score("q", DOCUMENTS)
    assert "0123456789" not in "".join(traceback.format_exception(caught.value))


class NotJson(Acme):
    def build(self, batch: Batch) -> dict[str, Any]:
        return {"documents": {1, 2}}


def test_a_body_that_is_no_json_is_an_error(serve: Serve, connect: Connect, oracle: Oracle) -> None:
    remote = connect(serve(AcmeServer(oracle)), dialect=NotJson(), template="server-fixed")
    with pytest.raises(ScoringError, match="TypeError"):
        remote.score("q", DOCUMENTS)


def test_a_server_of_another_kind_is_told_as_such(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    remote = connect(serve(AcmeServer(oracle)), dialect="tei", template="server-fixed")
    with pytest.raises(RerankError, match=r"404: .*oops.*base_url right"):
        remote.score("q", DOCUMENTS)
