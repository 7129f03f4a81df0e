"""Who writes the prompt is found out by counting tokens, and never guessed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support.remote_cases import Connect, Serve
from support.remote_oracle import Oracle
from support.rerank_server import Answer, Mishap, Seen
from support.served_engines import LlamaCpp, Ollama, Sglang, Tei
from support.served_gateways import Infinity, LiteLLM, Xinference
from support.served_hosted import MODEL, DeepInfra, Fireworks
from support.served_vllm import VllmPooling

from shared_core import ConfigurationError, InvalidReplyError, Reranker, ServerStatusError

DOCUMENTS = ["Mars is red.", "Venus is hot."]


def counting(count: Callable[[int], Any]) -> Callable[[Seen, Answer], Mishap]:
    """A fault that changes what the server says to have counted."""

    def fault(seen: Seen, answer: Answer) -> Mishap:
        body = copy.deepcopy(answer.body)
        if isinstance(body, list):
            header = count(int(answer.headers["x-compute-tokens"]))
            headers = {} if header is None else {"x-compute-tokens": str(header)}
            return answer.but(headers=headers)
        tokens = body["meta"]["tokens"]
        tokens["input_tokens"] = count(tokens["input_tokens"])
        return answer.but(body=body)

    return fault


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (partial(Infinity, templated=False), {}),
        (partial(DeepInfra, templating="none"), {"dialect": "deepinfra", "model": MODEL}),
    ],
)
def test_a_server_that_joins_bare_texts_is_refused_if_it_cannot_be_sent_a_prompt(
    kind: Any, options: dict[str, Any], serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    remote = connect(serve(kind(oracle)), **options)
    with pytest.raises(ConfigurationError, match="does not write the Qwen3-Reranker prompt"):
        remote.score("q", DOCUMENTS)


@pytest.mark.parametrize("count", [lambda n: None, lambda n: -1, lambda n: "many", lambda n: True])
def test_a_server_that_does_not_count_has_to_be_told_about(
    count: Callable[[int], Any], serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(LiteLLM(oracle))
    server.fault = counting(count)
    with pytest.raises(ConfigurationError, match=r"does not count tokens.*give template=, one of"):
        connect(server).score("q", DOCUMENTS)
    assert len(connect(server, template="server").score("q", DOCUMENTS)) == 2


@pytest.mark.parametrize("count", [41, 59])
def test_a_count_that_means_neither_is_not_guessed_about(
    count: int, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    for kind in (LiteLLM(oracle), Tei(oracle)):
        server = serve(kind)
        # The wrapped pair is counted rightly, so that it alone would look well.
        server.fault = counting(
            lambda n, kind=kind: count if n < 40 or isinstance(kind, LiteLLM) else n
        )
        with pytest.raises(ConfigurationError, match=f"counts {count} tokens for a pair that has"):
            connect(server).score("q", DOCUMENTS)


@pytest.mark.parametrize("header", ["x" * 9, "1e3", "", "9" * 5000, "٣٣"])
def test_a_header_that_is_no_count_is_none(
    header: str, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(Tei(oracle))
    server.fault = lambda seen, answer: answer.but(
        headers={"x-compute-tokens": header.encode().decode("latin-1")}
    )
    with pytest.raises(ConfigurationError, match="does not count tokens"):
        connect(server).score("q", DOCUMENTS)


def test_a_server_that_strips_or_cuts_what_is_wrapped_is_not_taken_for_one_that_keeps_it(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(LiteLLM(oracle, behind="client"))
    server.fault = counting(lambda n: min(n, 30))
    with pytest.raises(ConfigurationError, match="cannot be sent a written one"):
        connect(server).score("q", DOCUMENTS)


def test_an_instruction_that_changes_nothing_means_that_it_is_ignored(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    """vLLM 0.14 to 0.21 take the field and do nothing with it."""
    remote = connect(serve(VllmPooling(oracle, templating="fixed")), dialect="vllm-rerank")
    assert remote.score("q", DOCUMENTS) == pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    with pytest.raises(ConfigurationError, match="takes no instruction, so that 'Find' would be"):
        remote.score("q", DOCUMENTS, instruction="Find")


def test_an_instruction_that_the_engine_refuses_is_an_error(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """Xinference on vLLM has a fixed one."""
    remote = connect(serve(Xinference(oracle, engine="vllm")))
    assert len(remote.score("q", DOCUMENTS)) == 2
    with pytest.raises(ServerStatusError, match=r"500: Unexpected keyword arguments"):
        remote.score("q", DOCUMENTS, instruction="Find")


@pytest.mark.parametrize(
    ("kind", "options", "template"),
    [
        (VllmPooling, {}, "server"),
        (VllmPooling, {"dialect": "vllm-rerank"}, "prompt"),
        (LlamaCpp, {}, "client"),
        (Ollama, {}, "server-fixed"),
        (Sglang, {"dialect": "sglang-rerank"}, "client"),
    ],
)
def test_a_template_that_a_dialect_has_no_form_for_is_refused(
    kind: Any, options: dict[str, Any], template: str, serve: Serve, connect: Connect,
    oracle: Oracle,
) -> None:  # fmt: skip
    server = serve(kind(oracle))
    with pytest.raises(ConfigurationError, match=f"'{template}' is not possible with .*one of"):
        connect(server, template=template, **options).score("q", DOCUMENTS)
    assert all(seen.path == "/tokenize" for seen in server.posts)


def test_a_template_that_is_given_is_not_checked(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """Another kind of reranker writes no prompt and needs none."""
    server = serve(Tei(oracle, templated=False))
    found = connect(server, template="server-fixed").rerank("q", DOCUMENTS)
    expected = [oracle.margin(oracle.ids("q" + document)) for document in DOCUMENTS]
    assert sorted(one.logit for one in found) == pytest.approx(sorted(expected))
    assert [seen.body["texts"] for seen in server.posts] == [DOCUMENTS]


def test_probabilities_are_not_taken_for_logits(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    """Versions before 0.13 ignore ``use_activation``."""
    kind = VllmPooling(oracle, version="0.9.2", knows_activation=False, templating="none")
    server = serve(kind)
    remote = connect(server, dialect="vllm-rerank")
    assert remote.score("q", DOCUMENTS) == pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    assert all("use_activation" not in seen.body for seen in server.posts)


def test_what_ignores_raw_scores_is_not_taken_to_answer_with_logits(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    """llama.cpp speaks TEI's format, with probabilities alone."""
    kind = Tei(oracle, templated=True)
    server = serve(kind)
    kind.pages = lambda: LlamaCpp(oracle).pages()  # type: ignore[method-assign]
    rerank = kind.rerank
    kind.rerank = lambda body: rerank(body | {"raw_scores": False})  # type: ignore[method-assign]
    expected = pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    assert connect(server, dialect="tei", template="server-fixed").score("q", DOCUMENTS) == expected
    assert connect(server, dialect="tei").score("q", DOCUMENTS) == expected


def test_logits_are_not_taken_for_probabilities(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """A checkpoint may ask for no activation; no order by those is guessed to be right."""
    server = serve(Fireworks(oracle))
    server.fault = lambda seen, answer: Answer(
        {"data": [{"index": 0, "relevance_score": -2.5}], "usage": {"total_tokens": 80}}
    )
    remote = connect(server, dialect="fireworks", model=MODEL)
    with pytest.raises(InvalidReplyError, match=r"-2.5, expected a probability in \[0, 1\]"):
        remote.score("q", ["a"])


@pytest.mark.parametrize("kind", [partial(Ollama, boost=0), LlamaCpp])
def test_an_answer_that_is_not_listed_is_never_made_up(
    kind: Any, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """Here llama.cpp is asked for the ids of Qwen3, which are other words of this model."""
    options = {"dialect": "llamacpp-completion"} if kind is LlamaCpp else {}
    with pytest.raises(InvalidReplyError, match=r"do not hold .*: the score cannot be known"):
        connect(serve(kind(oracle)), **options).score("q", DOCUMENTS)
