"""On a CUDA device: the recipe's scores, by the attention that is fast there."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import reference
from support.checkpoints import model_config, write_checkpoint
from support.texts import random_text
from transformers import Qwen3Config

from shared_core import Reranker
from shared_core.scorers.local.elementwise_trial import choose_elementwise
from shared_core.scorers.local.flash import FlashAttention, choose_attention

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device; run `make test-gpu` there", allow_module_level=True)
pytestmark = pytest.mark.gpu

QUERY = "Which planet is known as the Red Planet?"
SOURCE = random.Random(7)
DOCUMENTS = [random_text(SOURCE, 80) for _ in range(40)] + ["", "Mars.", "planet " * 900, "Mars."]
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.04, "float16": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    return write_checkpoint(
        tmp_path_factory.mktemp("cuda"), small_tokenizer, initializer_range=0.15
    )


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[float]:
    """P(yes) by the recipe, in float32 on the CPU."""
    return reference.probabilities(folder, QUERY, DOCUMENTS)


@pytest.mark.parametrize("max_batch_tokens", [1, 700, 100_000], ids=["one", "few", "all"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_scores_equal_the_recipes(
    folder: Path, expected: list[float], dtype: str, max_batch_tokens: int
) -> None:
    with Reranker(
        str(folder), dtype=dtype, device="cuda", max_batch_tokens=max_batch_tokens
    ) as reranker:
        scores = reranker.score(QUERY, DOCUMENTS)
    largest = max(abs(one - other) for one, other in zip(scores, expected, strict=True))
    assert largest < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(16, 8, 128), (32, 8, 128), (4, 2, 32)], ids=str)
def test_the_kernel_of_this_torch_agrees_and_is_used(
    dtype: torch.dtype, shape: tuple[int, int, int]
) -> None:
    assert isinstance(choose_attention(torch.device("cuda"), dtype, *shape), FlashAttention)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_fused_kernels_agree_and_are_used(folder: Path, dtype: torch.dtype) -> None:
    config = model_config(Qwen3Config.from_pretrained(folder))
    true = {"hidden_size": 1024, "intermediate_size": 3072, "num_attention_heads": 16}
    for shape in (config, replace(config, **true, num_key_value_heads=8, head_dim=128)):
        chosen = choose_elementwise(shape, torch.device("cuda"), dtype)
        assert type(chosen).__name__ == "FusedElementwise"


def test_memory_goes_back(folder: Path) -> None:
    reranker = Reranker(str(folder), device="cuda")
    before = torch.cuda.memory_allocated()
    reranker.score(QUERY, DOCUMENTS)
    assert torch.cuda.memory_allocated() > before
    reranker.close()
    assert torch.cuda.memory_allocated() <= before


def test_graphs_give_their_memory_back(folder: Path) -> None:
    """But for what cuBLAS keeps for the streams that it was used on, once in a process."""

    def after_recording() -> int:
        with Reranker(str(folder), dtype="bfloat16", device="cuda") as reranker:
            for _ in range(3):
                reranker.score(QUERY, DOCUMENTS[:5])
            forward = reranker.scorer.load().forward  # type: ignore[attr-defined]
            assert len(forward._graphs) == 1
            del forward
        return torch.cuda.memory_allocated()

    first = after_recording()
    assert after_recording() <= first
