"""``dialect="auto"`` finds out what a server is, takes its most exact route, or says what to do."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.remote_cases import Connect, Serve
from support.remote_oracle import Oracle
from support.rerank_server import Answer, RerankServer, Seen
from support.served_engines import LlamaCpp, Ollama, Sglang, Tei
from support.served_gateways import Infinity, LiteLLM, LocalAI, OwnService, Xinference
from support.served_vllm import VllmGenerate, VllmPooling
from tenacity import wait_random_exponential

from shared_core import ConfigurationError, Reranker, ServerStatusError, ServerUnreachableError
from shared_core.scorers.remote import http

SERVERS: list[tuple[str, Any, str]] = [
    ("vLLM, pooling, with a template", VllmPooling, "/classify"),
    ("vLLM, pooling, without", partial(VllmPooling, templating="none"), "/classify"),
    ("vLLM 0.9, probabilities", partial(VllmPooling, version="0.9.2", knows_activation=False),
     "/classify"),
    ("vLLM without /classify", partial(VllmPooling, has_classify=False), "/v1/rerank"),
    ("vLLM, generate", VllmGenerate, "/v1/completions"),
    ("vLLM 0.22, generate", partial(VllmGenerate, version="0.22.1"), "/generative_scoring"),
    ("SGLang", Sglang, "/v1/score"),
    ("TEI", Tei, "/rerank"),
    ("llama.cpp", LlamaCpp, "/v1/rerank"),
    ("Infinity", partial(Infinity, templated=True), "/rerank"),
    ("Infinity below /v1", partial(Infinity, templated=True, prefix="/v1"), "/v1/rerank"),
    ("Xinference", Xinference, "/v1/rerank"),
    ("LiteLLM", LiteLLM, "/v1/rerank"),
    ("Ollama", Ollama, "/api/generate"),
    ("our own service", OwnService, "/rerank"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path"), [x[1:] for x in SERVERS], ids=[x[0] for x in SERVERS])
@pytest.mark.parametrize("key", [None, "a-key"])
def test_every_self_hosted_server_is_found_out(
    kind: Any, path: str, key: str | None, serve: Serve, connect: Connect, oracle: Oracle,
    reranker: Reranker, checkpoint: Path,
) -> None:  # fmt: skip
    server = serve(kind(oracle, key=key))
    remote = connect(server, api_key=key, tokenizer=str(checkpoint))
    documents = ["Mars is red.", "Venus", "the answer is yes"]
    assert remote.score("red planet?", documents) == pytest.approx(
        reranker.score("red planet?", documents), abs=1e-6
    )
    assert server.posts[-1].path == path
    assert server.posts[0].headers.get("authorization") == (key and f"Bearer {key}")
    before = len(server.seen)
    remote.score("again", ["Mars"])
    assert len(server.seen) == before + 1, "the server is asked once what it is"


def test_asking_a_litellm_proxy_does_not_make_it_call_its_models(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    proxy = LiteLLM(oracle)
    connect(serve(proxy)).score("q", ["a"])
    assert proxy.models_called == 0


@pytest.mark.parametrize(
    "suffix", ["", "/", "/v1", "/v1/", "/rerank", "/v1/rerank", "/v2/rerank", "/v1/score"]
)
def test_an_address_may_end_with_a_route(
    suffix: str, serve: Serve, oracle: Oracle, connect: Connect
) -> None:
    server = serve(VllmPooling(oracle))
    connect(server.url + suffix).score("q", ["a"])
    assert {seen.path for seen in server.posts} == {"/classify", "/tokenize"}
    connect(server.url + suffix, dialect="vllm-rerank").score("q", ["a"])
    given = suffix if suffix.endswith("/rerank") else "/v1/rerank"
    assert server.posts[-1].path == given


class Below:
    """A server below a path of a gateway that knows nothing else."""

    def __init__(self, kind: Any, prefix: str) -> None:
        self.kind, self.prefix = kind, prefix

    def answer(self, seen: Seen) -> Answer:
        if not seen.path.startswith(self.prefix):
            return Answer(b"<html><title>404 Not Found</title></html>", 404)
        path = seen.path.removeprefix(self.prefix)
        return self.kind.answer(Seen(seen.method, path, seen.headers, seen.body))  # type: ignore[no-any-return]


@pytest.mark.parametrize("suffix", ["", "/v1", "/v1/rerank"])
def test_a_server_may_be_below_a_path(
    suffix: str, serve: Serve, oracle: Oracle, connect: Connect
) -> None:
    server = serve(Below(VllmPooling(oracle), "/team/qwen"))
    connect(f"{server.url}/team/qwen{suffix}").score("q", ["a"])
    assert server.posts[-1].path == "/team/qwen/classify"


class Unknown:
    """A server that answers every question with this."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def answer(self, seen: Seen) -> Answer:
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"detail": "Not Found"}, 404),
        Answer(b"<html>welcome</html>", headers={"content-type": "text/html"}),
        Answer({}),
        Answer([]),
        Answer({"data": "x", "version": 3}),
        Answer({"data": [{"id": "reranker"}], "version": "1.0"}),
        Answer({"error": "internal"}, 500),
        Answer(b"", 302, {"location": "https://example.com/login"}),
    ],
)
def test_an_unknown_server_is_not_guessed_about(
    answer: Answer, serve: Serve, connect: Connect
) -> None:
    server = serve(Unknown(answer))
    with pytest.raises(
        ConfigurationError, match=r"cannot tell what kind of server .* give dialect"
    ):
        connect(server).score("q", ["a"])
    assert server.posts == []


def test_a_server_that_wants_a_key_is_told_apart_from_an_unknown_one(
    serve: Serve, connect: Connect
) -> None:
    server = serve(Unknown(Answer({"error": "Unauthorized"}, 401)))
    with pytest.raises(ServerStatusError, match=r"401: Unauthorized. Give api_key="):
        connect(server).score("q", ["a"])


def test_a_server_that_is_loading_is_waited_for(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    kind = LlamaCpp(oracle)
    server = serve(kind)
    loading = Answer(
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        503,
        {"retry-after": "0.01"},
    )
    answers = [loading] * 2
    answer = kind.answer
    kind.answer = lambda seen: answers.pop() if answers else answer(seen)  # type: ignore[method-assign]
    assert len(connect(server).score("q", ["a"])) == 1
    kind.answer = lambda seen: loading  # type: ignore[method-assign]
    with pytest.raises(ServerStatusError, match="503: Loading model"):
        connect(server, total_timeout=3.0).score("q", ["a"])


def test_after_a_failure_the_server_is_asked_anew(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    kind = VllmPooling(oracle)
    answer = kind.answer
    kind.answer = lambda seen: Answer({"detail": "not yet"}, 404)  # type: ignore[method-assign]
    remote = connect(serve(kind))
    with pytest.raises(ConfigurationError):
        remote.score("q", ["a"])
    kind.answer = answer  # type: ignore[method-assign]
    assert len(remote.score("q", ["a"])) == 1


def test_no_server_at_all(connect: Connect, serve: Serve, oracle: Oracle) -> None:
    with RerankServer(VllmPooling(oracle)) as server:
        url = server.url
    with pytest.raises(ServerUnreachableError, match=f"no answer from {url}.*base_url right"):
        connect(url, max_retries=0).score("q", ["a"])


@pytest.mark.parametrize("kind", [VllmPooling, partial(Infinity, templated=True), Xinference])
def test_a_model_that_is_not_served_is_named(
    kind: Any, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    with pytest.raises(ConfigurationError, match=r"does not serve 'other': .* 'reranker'"):
        connect(serve(kind(oracle)), model="other").score("q", ["a"])


def test_a_generating_vllm_that_cannot_score_is_told(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    with pytest.raises(ConfigurationError, match=r"vLLM 0.14.1, but with none of the routes"):
        connect(serve(VllmGenerate(oracle, version="0.14.1"))).score("q", ["a"])


def test_an_unknown_dialect_is_refused_before_anything_is_sent(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(LocalAI(oracle))
    for name, said in (
        ("lamacpp", "no dialect 'lamacpp'. Did you mean llamacpp? Expected one of auto, vllm"),
        ("Jina", "no dialect 'Jina'. Did you mean jina?"),
        ("xyz", "no dialect 'xyz'. Expected one of auto, vllm"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(said)):
            connect(server, dialect=name).score("q", ["a"])
    assert server.seen == []


def test_a_misspelt_template_is_told_its_neighbour(connect: Connect) -> None:
    with pytest.raises(ValueError, match=r"Did you mean server-fixed\?"):
        connect("http://localhost:1", template="server-fix")


@pytest.mark.parametrize("kind", [Xinference, LiteLLM, LlamaCpp, Tei, OwnService])
def test_where_dialect_and_template_are_given_nothing_is_asked(
    kind: Any, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    name = {"LlamaCpp": "llamacpp", "OwnService": "plain"}.get(kind.__name__, kind.__name__.lower())
    templates = {"llamacpp": "server-fixed", "tei": "client"}
    server = serve(kind(oracle))
    remote = connect(server, dialect=name, template=templates.get(name, "server"))
    assert len(remote.score("q", ["a"])) == 1
    assert [seen.method for seen in server.seen] == ["POST"]


def test_pages_that_fail_fail_no_call_to_a_server_that_is_named(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    kind = VllmPooling(oracle)
    answer = kind.answer
    soon = {"retry-after": "0"}
    kind.answer = lambda seen: (  # type: ignore[method-assign]
        Answer({"detail": "busy"}, 503, soon) if seen.method == "GET" else answer(seen)
    )
    remote = connect(serve(kind), dialect="vllm-rerank", template="server", max_retries=1)
    assert len(remote.score("q", ["a"])) == 1


def test_the_tokenizer_of_another_model_is_noticed(
    serve: Serve, connect: Connect, oracle: Oracle, tmp_path: Path, checkpoint: Path
) -> None:
    other = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    merges = other["model"]["merges"]
    answers = ("ye", "es", "yes", "no")  # these alone are still one token
    other["model"]["merges"] = [
        pair for pair in merges if "".join(pair).replace(" ", "") in answers
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(other), "utf-8")
    server = serve(VllmPooling(oracle))
    with pytest.raises(ConfigurationError, match="not that of the server's model"):
        connect(server, tokenizer=str(tmp_path)).score("q", ["a"])


def test_a_server_that_is_loading_is_waited_for_however_long_it_takes(
    serve: Serve, connect: Connect, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond ``max_retries``, which are for failures; with none of them nothing is waited for."""
    monkeypatch.setattr(http, "_BACKOFF", wait_random_exponential(multiplier=0.001, max=0.01))
    server = serve(LocalAI(oracle))
    loading = [Answer({"status": "loading"}, 503)] * 12
    server.fault = lambda seen, answer: loading.pop() if loading else answer
    options = {"dialect": "localai", "template": "server-fixed"}
    assert len(connect(server, max_retries=1, **options).score("q", ["a"])) == 1
    assert len(server.posts) == 13
    server.fault = lambda seen, answer: Answer({"status": "loading"}, 503)
    with pytest.raises(ServerStatusError, match="503"):
        connect(server, max_retries=0, **options).score("q", ["a"])
    assert len(server.posts) == 14
