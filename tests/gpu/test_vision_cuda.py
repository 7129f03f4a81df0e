"""On a CUDA device: the margins of contents with images are the recipe's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity import vision_reference as reference
from support.vision import drawn, write_vision_checkpoint
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

from shared_core import Content, Reranker

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device; run `make test-gpu` there", allow_module_level=True)
pytestmark = pytest.mark.gpu

DEVICE = "cuda"
QUERY = ([drawn(90, 250, 2)], "Alike?")
DOCUMENTS = [([], "text alone"), ([drawn(300, 200, 1)], None), ([drawn(700, 450, 3)], "and text")]
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.08}


@pytest.mark.parametrize("max_batch_tokens", [1, 100_000], ids=["one", "all"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_margins_equal_the_recipes(
    tmp_path: Path, small_tokenizer: Any, dtype: str, max_batch_tokens: int
) -> None:
    size = {"vocab_size": len(small_tokenizer)}
    folder = write_vision_checkpoint(tmp_path, small_tokenizer, text=size)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder).eval()
    with Reranker(
        str(folder), dtype=dtype, device=DEVICE, max_batch_tokens=max_batch_tokens
    ) as reranker:
        query, *documents = (Content(text or "", images) for images, text in (QUERY, *DOCUMENTS))
        ranking = reranker.rerank(query, documents)
    assert len(ranking) == len(DOCUMENTS)
    for ranked in ranking:
        parts = reference.format_pair(QUERY, DOCUMENTS[ranked.index])
        given = reference.inputs(tokenizer, parts)
        margin = reference.margin(model, tokenizer, given)
        assert abs(ranked.logit - margin) < TOLERANCE[dtype]
