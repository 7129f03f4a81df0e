"""Every path of the forward computes the same, on every device: plain, fused, as a graph.

On a CPU the flash kernel, the fused kernels and CUDA's graphs have stand-ins: a kernel written out,
Triton's interpreter, and a recorder that does its work again. On CUDA it is the real ones.
"""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import reference
from support.checkpoints import ModelWeights, model_config, random_config, write_checkpoint
from support.packs import Again, kernel, random_pack
from support.texts import random_text
from torch import Tensor
from transformers import Qwen3Model

from shared_core import Reranker
from shared_core.scorers.local import backbone as backbone_module
from shared_core.scorers.local.attention import Attention, TiledAttention
from shared_core.scorers.local.backbone import Backbone
from shared_core.scorers.local.buckets import bucket_of
from shared_core.scorers.local.building import build_backbone
from shared_core.scorers.local.elementwise import Elementwise, HeadShape, PlainElementwise
from shared_core.scorers.local.flash import FlashAttention
from shared_core.scorers.local.graphs import CudaRecorder, Graphs
from shared_core.scorers.local.packing import Pack

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(
            not torch.cuda.is_available(), reason="needs a CUDA device; run `make test-gpu` there"
        ),
    ],
)
on_each_device = pytest.mark.parametrize("device", ["cpu", CUDA])
HAS_TRITON = importlib.util.find_spec("triton") is not None

# Lengths of documents behind a prefix of 10: one to many, and one token around edges of buckets.
LENGTHS = {
    "short": [4, 3],
    "one": [50],
    "two": [20, 31],
    "before an edge": [30, 24, 63],  # 127 tokens in all
    "at an edge": [30, 24, 64],
    "behind an edge": [30, 24, 65],
    "long": [700, 3],
    "many": [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] * 3,
}
# Of normed hidden states, whose values are around one.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 0.02, torch.bfloat16: 0.12}


@pytest.fixture(scope="module")
def model() -> Qwen3Model:
    torch.manual_seed(0)
    return Qwen3Model(random_config(300, num_hidden_layers=2)).eval()


def built(
    model: Qwen3Model, device: torch.device, dtype: torch.dtype, way: str
) -> Backbone | Graphs:
    """Return the forward of one of the paths; on CUDA what is chosen must be the fast one."""
    config = model_config(model.config)
    attention: Attention | None = None
    elementwise: Elementwise | None = None
    shape = HeadShape(config.num_attention_heads, config.num_key_value_heads, config.head_dim)
    if way == "plain":
        attention = TiledAttention(shape.n_heads, device)
        elementwise = PlainElementwise(shape, config.rms_norm_eps, dtype)
    elif device.type == "cpu":
        attention = FlashAttention(device, kernel)
        if way == "fused":
            from shared_core.scorers.local.fused import FusedElementwise

            elementwise = FusedElementwise(shape, config.rms_norm_eps, dtype)
    backbone = build_backbone(
        config, ModelWeights(model), device, dtype, attention=attention, elementwise=elementwise
    )
    if way != "plain":
        assert isinstance(backbone.attention, FlashAttention)
    if device.type == "cuda" and way != "plain":
        assert type(backbone.elementwise).__name__ == "FusedElementwise"
    if way != "graph":
        return backbone
    return Graphs(backbone, Again if device.type == "cpu" else lambda: CudaRecorder(device), 2**30)


def last_hidden(forward: Backbone | Graphs, pack: Pack) -> Tensor:
    """Return the hidden states of a pack, the same as often as they are computed."""
    with torch.inference_mode():
        found = [forward.last_hidden(pack) for _ in range(4)]
    assert all(torch.equal(one, found[0]) for one in found)
    if isinstance(forward, Graphs):
        assert forward.is_usable
        assert list(forward._graphs) == [bucket_of(pack)]
    return found[0].cpu()


CASES = [
    ("cpu", torch.float32, way, name)
    for way in ("plain", "fused", "graph")
    for name in (LENGTHS if way != "fused" else ["short"])  # the interpreter takes its time
    if way != "fused" or (HAS_TRITON and not torch.cuda.is_available())
] + [
    pytest.param("cuda", dtype, way, name, marks=CUDA.marks)
    for dtype in TOLERANCE
    for way in ("plain", "fused", "graph")
    for name in LENGTHS
    if way == "plain" or dtype != torch.float32
]


@pytest.mark.parametrize(("device", "dtype", "way", "name"), CASES, ids=str)
def test_every_path_computes_what_plain_products_in_float32_do(
    model: Qwen3Model,
    device: str,
    dtype: torch.dtype,
    way: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pack = random_pack([LENGTHS[name]], [10], 0)
    exact = build_backbone(
        model_config(model.config), ModelWeights(model), torch.device("cpu"), torch.float32
    )
    with torch.inference_mode():
        expected = exact.last_hidden(pack)
    if way != "plain":
        monkeypatch.setattr(backbone_module, "_CHUNK_ROWS", {})
    forward = built(model, torch.device(device), dtype, way)
    found = last_hidden(forward, pack)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["before an edge", "at an edge", "behind an edge"])
def test_those_are_the_edges(name: str) -> None:
    bucket = bucket_of(random_pack([LENGTHS[name]], [10], 0))
    assert bucket is not None
    assert bucket.tokens == (144 if name.startswith("behind") else 128)


SOURCE = random.Random(3)
QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = [random_text(SOURCE, 30) for _ in range(6)] + ["", "Mars.", "planet " * 200]
SCORES = {"float32": 1e-5, "bfloat16": 0.04, "float16": 0.01}


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any
) -> Path:
    return write_checkpoint(
        tmp_path_factory.mktemp("paths"),
        small_tokenizer,
        initializer_range=0.15,
        tie_word_embeddings=request.param,
    )


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[float]:
    """P(yes) by the recipe, in float32 on the CPU."""
    return reference.probabilities(folder, QUERY, DOCUMENTS)


@on_each_device
@pytest.mark.parametrize("dtype", SCORES)
def test_scores_stay_the_recipes_call_after_call(
    folder: Path, expected: list[float], device: str, dtype: str
) -> None:
    """From the third call on, a CUDA device replays a graph."""
    if device == "cpu" and dtype == "float16":
        pytest.skip("needs a CUDA device: CPUs have bfloat16 or nothing")
    with Reranker(str(folder), dtype=dtype, device=device) as reranker:
        first, *others = [reranker.score(QUERY, DOCUMENTS) for _ in range(3)]
    assert max(abs(a - b) for a, b in zip(first, expected, strict=True)) < SCORES[dtype]
    for other in others:
        assert other == pytest.approx(first, abs=1e-6)


@on_each_device
def test_windows_score_as_on_a_cpu_in_one_pack(folder: Path, device: str) -> None:
    documents = [". ".join(random_text(SOURCE, 20) for _ in range(9)) for _ in range(3)]
    options: dict[str, Any] = {"long_documents": "windows", "window_tokens": 64}
    scores = []
    for where, most in (("cpu", None), (device, 300)):
        with Reranker(
            str(folder), dtype="float32", device=where, max_batch_tokens=most
        ) as reranker:
            scores.append(reranker.score(QUERY, documents, **options))
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)
