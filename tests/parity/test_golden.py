"""Published logits of the real Qwen3-Reranker-0.6B. Run by ``make test-real``.

Source: huggingface/sentence-transformers @ cad2119, ``tests/cross_encoder/test_model.py``: float32,
README instruction, logit differences, measured on CUDA.
"""

from __future__ import annotations

import os

import pytest

from shared_core import ModelLoadError, Reranker

QUERY = "Which planet is known as the Red Planet?"
GOLDEN = {
    "Venus is often called Earth's twin because of its similar size and proximity.": -3.1093,
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.": 7.1204,
    "Jupiter, the largest planet in our solar system, has a prominent red spot.": -0.3788,
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.": 3.5416,
}

pytestmark = pytest.mark.real_weights


@pytest.fixture(scope="module")
def real_reranker() -> Reranker:
    name = os.environ.get("QWEN3_RERANK_REAL_MODEL")
    if name is None:
        pytest.skip("needs the weights of Qwen3-Reranker-0.6B; run `make test-real` where they are")
    reranker = Reranker(name, dtype="float32")
    try:
        reranker.score(QUERY, ["load"])
    except ModelLoadError as error:
        pytest.fail(f"make test-real could not load {name!r}: {error}")
    return reranker


@pytest.mark.parametrize("batch_tokens", [1, None], ids=["one by one", "packed"])
def test_the_published_logits_come_out(real_reranker: Reranker, batch_tokens: int | None) -> None:
    """The tolerance is the published test's, doubled for devices other than the author's."""
    reranker = Reranker.from_options(
        real_reranker.options.model_copy(update={"max_batch_tokens": batch_tokens})
    )
    logits = {one.document: one.logit for one in reranker.rerank(QUERY, list(GOLDEN))}
    assert logits == pytest.approx(GOLDEN, abs=2e-4)


def test_the_model_cards_own_pairs(real_reranker: Reranker) -> None:
    """Scores of the README's two pairs in float32, as reported in RBLN-SW/vllm-rbln#841."""
    capital = real_reranker.score(
        "What is the capital of China?", ["The capital of China is Beijing."]
    )
    gravity = real_reranker.score(
        "Explain gravity",
        [
            "Gravity is a force that attracts two bodies towards each other. It gives weight to "
            "physical objects and is responsible for the movement of planets around the sun."
        ],
    )
    assert [*capital, *gravity] == pytest.approx([0.9995, 0.9972], abs=2e-3)
