"""Few documents as graphs: filled up to a bucket's sizes without a score that moves, kept, let go.

CUDA's own recorder needs a GPU (``tests/gpu``). Here one takes its place that does the work again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.checkpoints import ModelWeights, model_config, random_config
from support.packs import Again, kernel, packs, random_pack
from torch import Tensor
from transformers import Qwen3Model

from shared_core.scorers.local import backbone as backbone_module
from shared_core.scorers.local.backbone import Backbone
from shared_core.scorers.local.buckets import bucket_of, filled
from shared_core.scorers.local.building import build_backbone
from shared_core.scorers.local.flash import FlashAttention
from shared_core.scorers.local.graphs import Graphs, with_graphs
from shared_core.scorers.local.inputs import Inputs
from shared_core.scorers.local.packing import Pack

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _as_on_cuda() -> Any:
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(backbone_module, "_CHUNK_ROWS", {})
        yield


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    model = Qwen3Model(random_config(300, num_hidden_layers=2)).eval()
    return build_backbone(
        model_config(model.config),
        ModelWeights(model),
        CPU,
        torch.float32,
        attention=FlashAttention(CPU, kernel),
    )


def one_query(*lengths: int) -> Pack:
    """Return the pack of a query of 10 tokens with documents of these lengths."""
    return random_pack([list(lengths)], [10], 0)


@given(pack=packs)
@settings(max_examples=40, deadline=None)
def test_what_is_filled_up_changes_no_document(pack: Pack, backbone: Backbone) -> None:
    """Although what fills up becomes NaN here, in the attention that it takes no part in."""
    bucket = bucket_of(pack)
    assert bucket is not None
    assert bucket.tokens > len(pack.ids) or bucket.documents >= len(pack.document_spans)
    found = backbone.hidden(filled(pack, bucket).inputs())
    assert len(found) == bucket.documents
    torch.testing.assert_close(
        found[: len(pack.documents)], backbone.last_hidden(pack), rtol=0, atol=1e-5
    )


@given(st.integers(1, 4096), st.integers(1, 64), st.integers(1, 900))
def test_a_bucket_holds_its_packs_and_wastes_little(
    length: int, documents: int, prefix: int
) -> None:
    pack = random_pack([[length] * min(documents, 4096 // length)], [prefix], 0)
    bucket = bucket_of(pack)
    if len(pack.ids) > 4096:
        assert bucket is None
        return
    assert bucket is not None
    ends = [span.end_position for span in pack.spans]
    needed = (
        *(len(pack.ids), len(pack.document_spans), len(pack.spans), sum(ends)),
        *(max(span.length for span in pack.spans), max(ends)),
    )
    assert all(size >= need for size, need in zip(bucket, needed, strict=True))
    assert bucket.tokens <= max(len(pack.ids) * 1.125, len(pack.ids) + 16)
    assert bucket.keys <= max(sum(ends) * 1.25, sum(ends) + 16)
    assert filled(pack, bucket).values.dtype == torch.int64


def test_edges_of_buckets() -> None:
    sizes = [bucket_of(one_query(length - 10)).tokens for length in (1024, 1025, 1152, 1153)]  # type: ignore[union-attr]
    assert sizes == [1024, 1152, 1152, 1280]
    assert bucket_of(one_query(4086)) is not None
    assert bucket_of(one_query(4087)) is None
    many_keys = random_pack([[1] * 100], [900], 0)
    assert bucket_of(many_keys) is None


def test_a_graph_is_recorded_at_the_second_time_and_gives_the_same_bits(
    backbone: Backbone,
) -> None:
    """Filled anew each time: packs of one bucket take turns, and results stay what they were."""
    noted: list[str] = []
    graphs = Graphs(backbone, lambda: Again(noted), 10**9)
    alike = [one_query(30, 20, 5), one_query(25, 30), one_query(29, 21, 5)]
    assert len({bucket_of(pack) for pack in (alike[0], alike[2])}) == 1
    first, last = (graphs.last_hidden(alike[place]) for place in (0, 2))
    assert noted == ["recorded", "replayed", "replayed"]  # the first was computed as it came
    again = [graphs.last_hidden(alike[place]) for place in (0, 2, 0)]
    assert noted == ["recorded", *["replayed"] * 5]
    assert torch.equal(again[0], first)
    assert torch.equal(again[1], last)
    assert torch.equal(again[2], first)
    assert not torch.equal(first, last)
    graphs.last_hidden(alike[1])
    assert len(noted) == 6  # another bucket
    torch.testing.assert_close(first, backbone.last_hidden(alike[0]), rtol=0, atol=1e-5)


def test_large_packs_are_computed_as_they_are(backbone: Backbone) -> None:
    noted: list[str] = []
    graphs = Graphs(backbone, lambda: Again(noted), 10**9)
    pack = one_query(4087)
    pack.inputs = graphs.plan(pack)
    assert isinstance(pack.inputs, Inputs)
    assert len(pack.inputs.ids) == 4097


def turns(graphs: Graphs, *packs: Pack) -> None:
    """Record a graph for each pack, or use it."""
    for pack in packs:
        for _ in range(2):
            graphs.last_hidden(pack)


def test_the_graph_that_was_unused_for_longest_is_let_go(backbone: Backbone) -> None:
    noted: list[str] = []
    graphs = Graphs(backbone, lambda: Again(noted), 10**9, most_graphs=2)
    small, middle, large = one_query(10), one_query(60), one_query(200)
    turns(graphs, small, middle, small, large)
    assert noted.count("recorded") == 3
    turns(graphs, small, large)
    assert noted.count("recorded") == 3
    graphs.last_hidden(middle)  # seen once more, after it was forgotten
    assert noted.count("recorded") == 3
    graphs.last_hidden(middle)
    assert noted.count("recorded") == 4


def test_graphs_keep_within_their_memory(backbone: Backbone) -> None:
    made: list[Again] = []

    def make() -> Again:
        made.append(Again(n_bytes=60))
        return made[-1]

    graphs = Graphs(backbone, make, 100)
    turns(graphs, one_query(10), one_query(60))
    assert [recorder.n_bytes for recorder in made] == [120]
    turns(graphs, one_query(200))
    assert [recorder.n_bytes for recorder in made] == [120, 60]
    turns(graphs, one_query(200), one_query(10))
    assert [recorder.n_bytes for recorder in made] == [120, 120]


class Broken(Again):
    """Fails in one of three ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self._way = way

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        replay = super().__call__(work)
        if self._way == "raises":
            raise RuntimeError("operation not permitted when stream is capturing")
        if self._way == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (lambda: None) if self._way == "does nothing" else replay


@pytest.mark.parametrize("way", ["raises", "memory", "does nothing"])
def test_what_cannot_be_recorded_is_tried_once(
    way: str, backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Broken] = []
    graphs = Graphs(backbone, lambda: made.append(Broken(way)) or made[-1], 10**9)  # type: ignore[func-returns-value]
    pack, other = one_query(30, 20), one_query(200)
    expected: list[Tensor] = [backbone.last_hidden(one) for one in (pack, other)]
    with caplog.at_level(logging.DEBUG, "qwen3_rerank"):
        planned = one_query(30, 20)
        planned.inputs = graphs.plan(planned)
        for one, values in [(pack, expected[0]), (other, expected[1])] * 3:
            torch.testing.assert_close(graphs.last_hidden(one), values, rtol=0, atol=1e-5)
        assert not graphs.is_usable
        # One that was planned before.
        torch.testing.assert_close(graphs.last_hidden(planned), expected[0], rtol=0, atol=1e-5)
    (record,) = (one for one in caplog.records if one.name == "qwen3_rerank")
    wrong = way == "does nothing"
    assert record.levelno == (logging.WARNING if wrong else logging.DEBUG)
    assert ("does not compute what was recorded" if wrong else "no CUDA graphs") in record.message
    assert len(made) == 1


def test_a_cpu_has_no_graphs(backbone: Backbone) -> None:
    assert with_graphs(backbone) is backbone
