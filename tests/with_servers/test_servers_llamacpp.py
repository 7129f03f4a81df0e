"""llama.cpp's own server: what it is found to be, and whether its scores are those of the model."""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import pytest
from support.checkpoints import BUNDLED
from with_servers.conftest import Connect, Gateway
from with_servers.processes import llamacpp

from shared_core import ConfigurationError, Reranker, ServerStatusError
from shared_core.known_pairs import PAIRS

# llama.cpp keeps keys and values in half precision, which moves the bundled model's logits so far.
NOISE = 0.01


def largest_error(remote: Reranker, local: Reranker, instruction: str | None = None) -> float:
    """Return how far the logits of the known pairs are from the local ones."""
    return max(
        abs(there.logit - here.logit)
        for query, *documents in PAIRS
        for there, here in zip(
            remote.judge(query, documents, instruction=instruction),
            local.judge(query, documents, instruction=instruction),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"dialect": "compatible"}, {"dialect": "tei"},
     {"dialect": "tei", "template": "server-fixed"}],
    ids=["auto", "compatible", "tei", "tei, given"],
)  # fmt: skip
def test_scores_are_those_of_the_model(
    options: dict[str, str], with_head: str, connect: Connect, tiny: Reranker
) -> None:
    remote = connect(with_head, **options)
    assert largest_error(remote, tiny) < NOISE
    with pytest.raises(ConfigurationError, match="takes no instruction"):
        remote.score("q", ["a"], instruction="Find")


def test_check_trusts_it_after_a_comparison(with_head: str, connect: Connect) -> None:
    report = connect(with_head).check()
    assert report.exit_code == 0, report
    assert [report[name].status for name in ("server", "prompt", "comparison")] == ["ok"] * 3
    assert "llamacpp" in report["server"].detail


@pytest.mark.parametrize("dialect", ["auto", "compatible", "tei"])
def test_a_file_without_its_head_is_refused(
    dialect: str, without_head: str, connect: Connect
) -> None:
    """It answers 200 with probabilities that look like any; it counts the tokens of the texts."""
    remote = connect(without_head, dialect=dialect)
    with pytest.raises(ConfigurationError, match=r"does not write the|lacks its head"):
        remote.score("capital of France", ["Paris", "a violin"])
    assert remote.check().exit_code == (1 if dialect == "auto" else 2)


def test_check_says_how_to_get_a_file_with_its_head(without_head: str, connect: Connect) -> None:
    report = connect(without_head).check()
    for name in ("prompt", "comparison"):
        assert report[name].status == "wrong"
        assert "ggml-org/Qwen3-Reranker" in report[name].fix
        assert "vllm" not in report[name].fix


def test_only_what_it_would_replace_is_neutralised(
    with_head: str, connect: Connect, tiny: Reranker
) -> None:
    query, documents = "What is {document} to {query}?", ["{query} is Mars", "{document}"]
    expected = tiny.judge("What is { document} to {query}?", documents)
    found = connect(with_head).judge(query, documents)
    for there, here in zip(found, expected, strict=True):
        assert there.logit == pytest.approx(here.logit, abs=NOISE)


def test_whole_prompts_are_scored_exactly_with_any_instruction(
    started: ExitStack, connect: Connect, tiny: Reranker
) -> None:
    """A server that generates; neither answer of the bundled model is a likely token."""
    url = started.enter_context(llamacpp(BUNDLED, has_head=False, reranking=False, context=256))
    remote = connect(url, dialect="llamacpp-completion", tokenizer=str(BUNDLED))
    assert largest_error(remote, tiny) < NOISE
    assert largest_error(remote, tiny, "Find what is wrong") < NOISE
    long = remote.judge("capital of France", ["Paris " * 1000])[0]
    assert (long.n_tokens, long.truncated) == (255, True)
    assert remote.check().exit_code == 0
    with pytest.raises(ServerStatusError, match=r"501.*not started as a reranker"):
        connect(url, dialect="llamacpp", template="server-fixed").score("q", ["a"])


def test_its_context_is_read_and_kept(with_head: str, connect: Connect) -> None:
    """It refuses a prompt that fills its context, so that there is room for one token less."""
    cut = connect(with_head, tokenizer=str(BUNDLED)).judge("q", ["Paris " * 4000])[0]
    assert (cut.n_tokens, cut.truncated) == (2047, True)
    with pytest.raises(ServerStatusError, match=r"400.*context size.*Lower max_length"):
        connect(with_head).score("q", ["Paris " * 4000])


def test_our_service_before_it_passes_on_scores_and_counts(
    with_head: str, gateway: Gateway, tiny: Reranker
) -> None:
    service = gateway(with_head, "tiny")
    service.wait_until_ready()
    query, *documents = PAIRS[0]
    body = {"query": query, "documents": documents}
    reply = httpx.post(f"{service.url}/v1/rerank", json=body, timeout=60).json()
    expected = tiny.rerank(query, documents)
    found = [(row["index"], pytest.approx(row["logit"], abs=NOISE)) for row in reply["results"]]
    assert [(one.index, one.logit) for one in expected] == found
    assert reply["usage"]["prompt_tokens"] == sum(one.n_tokens or 0 for one in expected)
    refused = httpx.post(f"{service.url}/v1/rerank", json=body | {"instruction": "Find"})
    assert refused.status_code == 422
    assert "takes no instruction" in refused.json()["detail"]


def test_its_server_answers_in_two_formats(with_head: str) -> None:
    """By the field with the documents: that of Jina, and that of TEI, where it gives no logits."""
    body = {"query": "q", "documents": ["a"]}
    jina = httpx.post(f"{with_head}/v1/rerank", json=body, timeout=60).json()
    body = {"query": "q", "texts": ["a"], "raw_scores": True}
    tei = httpx.post(f"{with_head}/rerank", json=body, timeout=60).json()
    assert tei[0]["score"] == pytest.approx(jina["results"][0]["relevance_score"])
    assert 0 < tei[0]["score"] < 1
