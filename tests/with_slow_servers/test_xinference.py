"""Xinference: its prompt depends on the name that a model is registered under."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from support.checkpoints import BUNDLED
from with_servers.conftest import Connect, Gateway
from with_servers.test_servers_llamacpp import largest_error
from with_slow_servers.starting import XINFERENCE, xinference

from shared_core import ConfigurationError, Reranker, ServerStatusError

pytestmark = pytest.mark.skipif(
    not (XINFERENCE / ".ready").exists(), reason="no Xinference here: make test-servers-slow"
)
NAMED, UNNAMED = "tiny-qwen3-reranker", "another-reranker"
INSTRUCTION = "Find what is wrong"
TOLERANCE = 1e-3  # it passes on probabilities alone, in single precision


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with xinference({NAMED: BUNDLED, UNNAMED: BUNDLED}) as url:
        yield url


@pytest.mark.parametrize("instruction", [None, INSTRUCTION])
def test_scores_are_those_of_the_model(
    instruction: str | None, url: str, connect: Connect, tiny: Reranker
) -> None:
    assert largest_error(connect(url, NAMED), tiny, instruction) < TOLERANCE


def test_check_trusts_it_after_a_comparison(url: str, connect: Connect) -> None:
    report = connect(url, NAMED).check()
    assert report.exit_code == 0, report
    assert report["server"].detail.startswith("xinference 4")
    assert report["comparison"].status == "ok"


def test_under_a_name_without_qwen3_it_writes_no_prompt(url: str, connect: Connect) -> None:
    """It joins the texts, and answers 200 with numbers that look like scores."""
    remote = connect(url, UNNAMED)
    with pytest.raises(ConfigurationError, match="contains qwen3"):
        remote.score("capital of France", ["Paris", "a violin"])
    report = remote.check()
    assert report.exit_code == 1
    assert "contains qwen3" in report["prompt"].fix


def test_our_service_before_it_passes_instructions_on(
    url: str, gateway: Gateway, tiny: Reranker
) -> None:
    service = gateway(url, NAMED)
    service.wait_until_ready()
    documents = ["Venus is hot.", "Mars looks red."]
    for instruction in (None, INSTRUCTION):
        body = {"query": "Which is red?", "documents": documents, "instruction": instruction}
        reply = httpx.post(f"{service.url}/v1/rerank", json=body, timeout=120).json()
        expected = tiny.rerank("Which is red?", documents, instruction=instruction)
        found = [(row["index"], row["logit"]) for row in reply["results"]]
        assert [index for index, _ in found] == [one.index for one in expected]
        assert [logit for _, logit in found] == pytest.approx(
            [one.logit for one in expected], abs=TOLERANCE
        )


def test_a_name_that_it_has_not_is_said(url: str, connect: Connect) -> None:
    with pytest.raises((ConfigurationError, ServerStatusError), match="other"):
        connect(url, "other").score("q", ["a"])
