"""Infinity: refused for Qwen3-Reranker, and right for rerankers that have no prompt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.checkpoints import BUNDLED, write_converted_checkpoint
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from with_servers.conftest import Connect, Gateway
from with_slow_servers.starting import INFINITY, infinity

from shared_core import ConfigurationError
from shared_core.known_pairs import PAIRS

pytestmark = pytest.mark.skipif(
    not (INFINITY / ".ready").exists(), reason="no Infinity here: make test-servers-slow"
)
QUERY, *DOCUMENTS = PAIRS[0]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with infinity(BUNDLED) as url:
        yield url


def test_a_qwen3_reranker_is_refused(url: str, connect: Connect) -> None:
    """It writes no prompt, and strips the texts, so that no client can."""
    remote = connect(url)
    with pytest.raises(ConfigurationError, match="writes no prompt and strips texts"):
        remote.score(QUERY, DOCUMENTS)
    report = remote.check()
    assert (report.exit_code, report["server"].detail) == (2, "infinity")
    assert "use another server" in str(report)


def test_the_service_before_it_is_never_ready_and_says_why(url: str, gateway: Gateway) -> None:
    service = gateway(url, "tiny")
    assert service.wait_until_loaded() == "failed"
    assert "strips texts" in service.log.read_text()


def test_plain_texts_get_its_model_s_own_scores(url: str, connect: Connect, tmp_path: Path) -> None:
    """With the template given by hand, as for rerankers that read plain pairs."""
    folder = write_converted_checkpoint(tmp_path, BUNDLED)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    documents = [*DOCUMENTS, "火星是红色的。", "three\n\nlines\nhere"]
    with torch.no_grad():
        expected = [
            model(**tokenizer(QUERY, text, return_tensors="pt")).logits.item() for text in documents
        ]
    found = connect(url, template="server-fixed").judge(QUERY, documents)
    assert [one.logit for one in found] == pytest.approx(expected, abs=1e-4)
    assert {one.n_tokens for one in found} == {None}  # it counts characters
