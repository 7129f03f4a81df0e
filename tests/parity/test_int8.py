"""quantize="int8": close to float32 in order, its parts exact, refused where it cannot be."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import (
    BUNDLED,
    ModelWeights,
    model_config,
    random_config,
    write_checkpoint,
)
from support.texts import random_text
from torch import Tensor, nn
from transformers import Qwen3Model

from shared_core import ConfigurationError, Reranker
from shared_core.prompt.encoding import EncodedDocument, EncodedGroup
from shared_core.scorers.local import building
from shared_core.scorers.local.building import build_backbone
from shared_core.scorers.local.int8 import (
    Int8,
    Quantised,
    project_int8,
    quantised,
    weight_limit,
)
from shared_core.scorers.local.packing import Pack, build_pack
from shared_core.scorers.local.projection import Linear, Projection, can_pack, dense, packed

QUERY = "Which planet is known as the Red Planet?"
CPU = torch.device("cpu")


def in_eight_bits(weight: Tensor) -> Quantised:
    return quantised(Linear(weight, None), weight_limit())


def make_pack() -> Pack:
    source = random.Random(1)
    groups = [
        EncodedGroup(
            [source.randrange(400) for _ in range(9)],
            [
                EncodedDocument([source.randrange(400) for _ in range(length)], 9 + length, False)
                for length in (3, 20, 21, 1)
            ],
        )
        for _ in range(2)
    ]
    return build_pack(groups, [(g, d) for g in range(2) for d in range(4)])


def make_model(**overrides: Any) -> Qwen3Model:
    """Return a model whose norms are not all one, as those of trained models are not."""
    torch.manual_seed(0)
    model = Qwen3Model(random_config(400, **overrides)).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.uniform_(0.2, 3.0)
        if name.endswith("bias"):
            weight.normal_()
    return model


@pytest.mark.parametrize("attention_bias", [False, True], ids=["plain", "biased"])
@pytest.mark.parametrize("hidden_size", [64, 96, 80])
def test_a_rotated_model_computes_what_it_did(
    hidden_size: int, attention_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever power of two divides the width: the rotation alone changes nothing."""
    overrides = {"hidden_size": hidden_size, "attention_bias": attention_bias}

    def last_hidden(*, quantize: bool) -> Tensor:
        model = make_model(**overrides)
        backbone = build_backbone(
            model_config(model.config), ModelWeights(model), CPU, torch.float32, quantize=quantize
        )
        return backbone.last_hidden(make_pack())

    plain = last_hidden(quantize=False)
    # The rotation of eight bits, with products that are exact.
    monkeypatch.setattr(building, "quantised", lambda layer, limit: layer)
    monkeypatch.setattr(building, "project_int8", dense)
    rotated = last_hidden(quantize=True)
    assert plain.std() > 0.1
    torch.testing.assert_close(rotated, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [packed, dense])
def test_projections_are_the_products_of_their_layers(make: Callable[..., Projection]) -> None:
    """With and without bias, whatever the number of rows."""
    torch.manual_seed(0)
    for bias in (False, True):
        layers = [nn.Linear(48, 24, bias=bias), nn.Linear(48, 40, bias=bias)]
        for n_rows in (1, 7, 600):
            x = torch.randn(n_rows, 48)
            expected = tuple(layer(x) for layer in layers)
            found = make(Linear(layer.weight, layer.bias) for layer in layers)(x)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_packing_is_used_where_torch_can() -> None:
    """So that a torch that renames the operators is noticed here, and not as a slowdown."""
    assert can_pack(torch.float32)


def test_the_largest_inputs_and_weights_do_not_overflow() -> None:
    limit = weight_limit()
    assert limit in (64, 127)
    signs = torch.tensor([1.0, -1.0]).repeat_interleave(512)
    for weight in (torch.ones(8, 1024), -torch.ones(8, 1024), signs.expand(8, -1)):
        for x in (torch.ones(4, 1024), signs.expand(4, -1)):
            product = Int8(in_eight_bits(weight))(x)
            torch.testing.assert_close(product, x @ weight.T, rtol=1e-4, atol=1e-2)


def test_a_token_of_large_values_costs_no_other_its_accuracy() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(64, 256), torch.randn(5, 256)
    alone = Int8(in_eight_bits(weight))(x)
    x[2] *= 1e4
    beside = Int8(in_eight_bits(weight))(x)
    assert torch.equal(alone[[0, 1, 3, 4]], beside[[0, 1, 3, 4]])
    error = (alone - x.div(torch.tensor([1, 1, 1e4, 1, 1])[:, None]) @ weight.T).norm(dim=1)
    assert (error / alone.norm(dim=1)).max() < 0.03


def test_every_output_has_a_scale_of_its_own() -> None:
    """Rows of four orders of magnitude, in either order; an error is held against its own row."""
    torch.manual_seed(0)
    x = torch.randn(200, 256)
    sizes = torch.logspace(-2, 2, 64)[:, None]
    for weight in (torch.randn(64, 256) * sizes, torch.randn(64, 256) * sizes.flip(0)):
        expected = x @ weight.T
        layers = [in_eight_bits(rows) for rows in (weight[:24], weight[24:])]
        for found in (
            Int8(in_eight_bits(weight))(x),
            torch.cat(project_int8(layers)(x), dim=1),
        ):
            error = (found - expected).norm(dim=0) / expected.norm(dim=0)
            assert error.max() < 0.03


def test_a_large_channel_finds_all_eight_bits_whatever_the_cpu() -> None:
    """Where products overflow, weights lose a bit: with ±63 for the inputs it was 0.077."""
    torch.manual_seed(0)
    weight, x = torch.randn(64, 256), torch.randn(200, 256)
    x[:, 7] *= 20
    weight[:, 7] = 0.0  # what is left is what the other channels lose
    expected = x @ weight.T
    error = (Int8(in_eight_bits(weight))(x) - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.mean() < 0.06


def test_the_order_is_nearly_that_of_float32() -> None:
    """Kendall's tau of the bundled model's order of 120 texts was 0.97 and more."""
    from scipy.stats import kendalltau

    source = random.Random(3)
    documents = [random_text(source, 60) for _ in range(120)]
    scores = {}
    for quantize in (None, "int8"):
        with Reranker(str(BUNDLED), dtype="float32", quantize=quantize) as reranker:
            scores[quantize] = reranker.score(QUERY, documents)
    assert scores[None] != scores["int8"]
    assert kendalltau(scores[None], scores["int8"]).statistic > 0.95


def test_packs_do_not_change_eight_bit_scores(tmp_path: Path) -> None:
    """A token's scale is its own, so its neighbours do not matter."""
    scores = []
    documents = ["Mars is red.", "Venus is hot and bright.", "planet " * 90, "Saturn has rings."]
    for max_batch_tokens in (1, 100_000):
        with Reranker(
            "tiny", dtype="float32", quantize="int8", max_batch_tokens=max_batch_tokens
        ) as reranker:
            scores.append(reranker.score(QUERY, documents))
    assert max(abs(one - other) for one, other in zip(*scores, strict=True)) < 0.02


@pytest.mark.parametrize(
    "options",
    [{"backend": "vllm"}, {"base_url": "http://127.0.0.1:9"}, {"device": "cuda"}],
    ids=["vllm", "remote", "cuda"],
)
def test_eight_bits_elsewhere_than_on_a_cpu_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((ConfigurationError, ValueError), match="quantize"):
        Reranker("tiny", quantize="int8", **options)


def test_only_layers_on_a_cpu_are_quantised() -> None:
    model = make_model()
    with pytest.raises(ConfigurationError, match="is for CPUs"):
        build_backbone(
            model_config(model.config),
            ModelWeights(model),
            torch.device("meta"),
            torch.float32,
            quantize=True,
        )


def test_a_checkpoint_on_disk_loads_in_eight_bits(tmp_path: Path, small_tokenizer: Any) -> None:
    folder = write_checkpoint(tmp_path, small_tokenizer, initializer_range=0.15)
    with Reranker(str(folder), quantize="int8") as reranker:
        assert all(0 < score < 1 for score in reranker.score(QUERY, ["Mars.", "Venus."]))
