"""vLLM as the bench runs it gives the local scorer's scores, from a cold cache and a warm one."""

from __future__ import annotations

from typing import Any

import pytest
from support.checkpoints import BUNDLED

from benchmarks.bench.players.base import Request, Setup
from benchmarks.bench.worker import make_player
from shared_core import Reranker

REQUESTS = [
    Request("Which planet is red?", ["Mars.", "Venus is hot and bright. " * 20, "火星"]),
    Request("What is tea?", ["A drink made of leaves.", "Mars is a planet."]),
]


@pytest.mark.parametrize(
    ("kind", "model", "settings"),
    [
        ("vllm", str(BUNDLED), {"enforce_eager": True, "block_size": 32}),
        ("ours", "tiny", {"backend": "vllm", "engine_args": {"enforce_eager": True}}),
    ],
)
def test_scores_are_the_local_scorers(
    tiny: Reranker, kind: str, model: str, settings: dict[str, Any]
) -> None:
    player = make_player(kind, Setup(model, "float32", "cpu", 1024, settings))
    assert "vllm" in player.imports()
    player.load()
    expected = [
        score
        for request in REQUESTS
        for score in tiny.score(request.query, list(request.documents))
    ]
    for cache in ("cold", "warm", "cold"):
        player.prepare({"cache": cache})
        assert player.score(REQUESTS, {"cache": cache}) == pytest.approx(expected, abs=1e-4)
