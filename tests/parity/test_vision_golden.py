"""Published scores of the real Qwen3-VL-Reranker-2B, where its weights are.

    QWEN3_RERANK_REAL_VISION_MODEL=Qwen/Qwen3-VL-Reranker-2B \
        QWEN3_RERANK_REAL_IMAGE=demo.jpeg python -m pytest -m real_weights tests/parity

The image is the one of the model card, a woman with her dog on a beach (demo.jpeg of Qwen-VL's
assets, whose address is in the README of QwenLM/Qwen3-VL-Embedding).

Source: QwenLM/Qwen3-VL-Embedding at 8ce3aab, ``examples/reranker_vllm.ipynb``: computed in bfloat16
by vLLM on CUDA, whose processor bounds the size of images otherwise, hence the tolerance.
"""

from __future__ import annotations

import os

import pytest

from shared_core import Content, Reranker

pytestmark = pytest.mark.real_weights

INSTRUCTION = "Retrieve images or text relevant to the user's query."
QUERY = "A woman playing with her dog on a beach at sunset."
TEXT = (
    "A woman shares a joyful moment with her golden retriever on a sun-drenched beach at sunset, "
    "as the dog offers its paw in a heartwarming display of companionship and trust."
)
GOLDEN = [0.8600, 0.7232, 0.8189]


def test_the_published_scores_of_text_image_and_both_come_out() -> None:
    name, image = (
        os.environ.get(f"QWEN3_RERANK_REAL_{what}") for what in ("VISION_MODEL", "IMAGE")
    )
    if name is None or image is None:
        pytest.skip(
            "needs the weights of Qwen3-VL-Reranker-2B and its model card's image: with "
            "QWEN3_RERANK_REAL_VISION_MODEL and QWEN3_RERANK_REAL_IMAGE, pytest -m real_weights"
        )
    documents = [TEXT, Content(images=[image]), Content(TEXT, [image])]
    with Reranker(name, dtype="float32") as reranker:
        scores = reranker.score(QUERY, documents, instruction=INSTRUCTION)
    assert scores == pytest.approx(GOLDEN, abs=0.03)
