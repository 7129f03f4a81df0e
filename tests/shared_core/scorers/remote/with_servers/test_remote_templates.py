"""Who writes the prompt is found out by comparing scores, and never guessed."""

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


SAME: dict[str, Callable[[int], Any]] = {
    "none": lambda n: None,
    "zero": lambda n: 0,
    "negative": lambda n: -1,
    "text": lambda n: "many",
    "true": lambda n: True,
    "as few as LiteLLM makes up": lambda n: 29,
    "too few": lambda n: min(n, 20),
    "too many": lambda n: 4 * n + 300,
}


@pytest.mark.parametrize("count", SAME.values(), ids=SAME)
@pytest.mark.parametrize("behind", ["server", "server-fixed", "client"])
def test_counts_that_are_made_up_make_no_score_wrong(
    behind: Any, count: Callable[[int], Any], serve: Serve, connect: Connect, oracle: Oracle,
    reranker: Reranker,
) -> None:  # fmt: skip
    """Where score and count disagree, a server is refused; elsewhere its scores show all."""
    server = serve(LiteLLM(oracle, behind=behind))
    server.fault = counting(count)
    remote = connect(server)
    if count(200) in (20, 29) and behind != "client":  # it says that there is no prompt
        with pytest.raises(ConfigurationError, match="does not write the Qwen3-Reranker prompt"):
            remote.score("q", DOCUMENTS)
        return
    expected = pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    assert remote.score("q", DOCUMENTS) == expected


@pytest.mark.parametrize("templated", [True, False])
@pytest.mark.parametrize("header", ["x" * 9, "1e3", "", "9" * 5000, "٣٣"])
def test_a_header_that_is_no_count_is_none(
    header: str, templated: bool, serve: Serve, connect: Connect, oracle: Oracle,
    reranker: Reranker,
) -> None:  # fmt: skip
    server = serve(Tei(oracle, templated=templated))
    server.fault = lambda seen, answer: answer.but(
        headers={"x-compute-tokens": header.encode().decode("latin-1")}
    )
    expected = pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    assert connect(server).score("q", DOCUMENTS) == expected


def as_litellm_does_for_tei(seen: Seen, answer: Answer) -> Answer:
    """Counts of its own tokenizer, for the texts and for the reply; and no tokens are billed."""
    counted = {"input_tokens": 75, "output_tokens": 39}
    meta = {"billed_units": {"search_units": 1}, "tokens": counted}
    return answer.but(body=answer.body | {"meta": meta})


@pytest.mark.parametrize("behind", ["server-fixed", "client"])
def test_a_gateways_own_counts_are_none(
    behind: Any, serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    server = serve(LiteLLM(oracle, behind=behind))
    server.fault = as_litellm_does_for_tei
    remote = connect(server)
    expected = pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    assert remote.score("q", DOCUMENTS) == expected
    assert remote.check()["prompt"].detail == "the server does not count tokens"


class Changing(LiteLLM):
    """A proxy that does something to texts before it joins or wraps them."""

    def __init__(self, oracle: Oracle, change: Callable[[str], str], **options: Any) -> None:
        super().__init__(oracle, **options)
        self.change = change

    def rerank(self, body: dict[str, Any]) -> Answer:
        documents = [self.change(document) for document in body["documents"]]
        return super().rerank(body | {"query": self.change(body["query"]), "documents": documents})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.rstrip("\n"), "strips texts"),
        (str.strip, "strips texts"),
        (lambda text: text + "<|endoftext|>", "puts something between query and document"),
        (lambda text: "the same", "gives all texts the same score"),
    ],
    ids=["last newlines", "all ends", "an end of its own", "empty"],
)
def test_a_server_that_changes_texts_is_sent_no_prompt(
    change: Callable[[str], str], said: str, serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    remote = connect(serve(Changing(oracle, change, behind="client")))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=said):
            remote.score("q", DOCUMENTS)
    report = remote.check()
    assert (report.exit_code, report["template"].status) == (2, "failed")


def test_characters_are_no_tokens(serve: Serve, connect: Connect, oracle: Oracle) -> None:
    """Those of Infinity are as many as a prompt has tokens, or as one written twice."""
    remote = connect(serve(Infinity(oracle)).url + "/rerank", dialect="compatible")
    with pytest.raises(ConfigurationError, match=r"it counts no tokens.* it strips texts"):
        remote.score("q", DOCUMENTS)
    given = connect(
        serve(Infinity(oracle)).url + "/rerank", dialect="compatible", template="client"
    )
    report = given.check()
    assert report.exit_code == 1
    assert "counts characters" in report["prompt"].detail
    assert "strips texts" in report["comparison"].detail


@pytest.mark.parametrize(
    ("behind", "template", "change", "said"),
    [
        ("server", "client", str, 'Use template="server"'),
        ("client", "server-fixed", str, "behind the proxy"),
        ("client", "client", lambda text: text.rstrip("\n"), "behind the proxy"),
    ],
    ids=["twice", "never", "stripped"],
)
def test_a_state_that_was_given_is_checked_by_check(
    behind: Any, template: str, change: Any, said: str, serve: Serve, connect: Connect,
    oracle: Oracle,
) -> None:  # fmt: skip
    report = connect(serve(Changing(oracle, change, behind=behind)), template=template).check()
    assert (report.exit_code, report["comparison"].status) == (1, "wrong")
    assert said in report["comparison"].fix


def test_a_model_that_knows_no_answer_is_not_trusted_with_a_prompt(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """As a GGUF file without its head behind LiteLLM: it joins the texts, and judges by chance."""
    kind = LiteLLM(oracle, behind="client")
    server = serve(kind)
    server.fault = lambda seen, answer: answer.but(
        body=answer.body
        | {"results": [r | {"relevance_score": 1 - r["relevance_score"]}
                       for r in answer.body["results"]]}
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="only 0 of 4 known questions"):
        connect(server).score("q", DOCUMENTS)


def test_a_server_that_counts_less_than_a_prompt_has_is_refused(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker
) -> None:
    """Whether it is so at first, or only one of those behind a proxy is."""
    server = serve(LlamaCpp(oracle, templated=False))
    with pytest.raises(ConfigurationError, match=r"convert the model again with a current"):
        connect(server).score("q", DOCUMENTS)
    report = connect(server).check()
    assert report.exit_code == 1
    assert "convert the model again" in report["prompt"].fix
    assert len(connect(server, template="server-fixed").score("q", DOCUMENTS)) == 2

    with pytest.raises(
        ConfigurationError, match=r"register the model under one that contains qwen3"
    ):
        connect(serve(Xinference(oracle, templated=False))).score("q", DOCUMENTS)

    kind = LiteLLM(oracle, behind="server-fixed")
    remote = connect(serve(kind))
    assert remote.score("q", DOCUMENTS) == pytest.approx(reranker.score("q", DOCUMENTS), abs=1e-6)
    kind.behind = "client"
    with pytest.raises(ConfigurationError, match=r"it does not write the prompt"):
        remote.score("q", DOCUMENTS)


def test_the_probe_is_made_once_and_is_small(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    """docs/servers.md says what it costs."""
    for behind, most in (("server", 5), ("server-fixed", 5), ("client", 9)):
        server = serve(LiteLLM(oracle, behind=behind))  # type: ignore[arg-type]
        remote = connect(server)
        remote.score("q", DOCUMENTS)
        assert len(server.posts) == most + 1
        assert sum(len(body["documents"]) for body in server.bodies[:-1]) <= 22
        remote.score("another", DOCUMENTS)
        assert len(server.posts) == most + 2


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
        {"data": [{"index": i, "relevance_score": -2.5} for i in range(2)]}
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
