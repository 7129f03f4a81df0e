"""Windows over vLLM's engine are those of the local scorer, sync and async."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shared_core import Reranker

QUERY = "Which planet is known as the Red Planet?"
FILLER = "Venus is hot, and its clouds are thick. " * 40
DOCUMENTS = [f"{FILLER}Mars looks red. {FILLER}", "Mars.", "", "火星是红色的。" * 90]
WINDOWS: dict[str, Any] = {"long_documents": "windows", "window_tokens": 64}


def test_windows_are_the_local_scorers(engine: Reranker, checkpoint: Path) -> None:
    local = Reranker(str(checkpoint), dtype="float32", device="cpu", max_length=1024)
    expected = {one.index: one for one in local.rerank(QUERY, DOCUMENTS, **WINDOWS)}
    found = engine.rerank(QUERY, DOCUMENTS, **WINDOWS)
    again = asyncio.run(engine.arerank(QUERY, DOCUMENTS, **WINDOWS))
    assert [one.window for one in again] == [one.window for one in found]
    for one in found:
        local_one = expected[one.index]
        assert one.logit == pytest.approx(local_one.logit, abs=1e-4)
        assert (one.n_tokens, one.total_tokens) == (local_one.n_tokens, local_one.total_tokens)
        assert one.window == local_one.window
    assert sum(one.window is not None for one in found) == 2
