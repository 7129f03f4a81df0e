"""Windows over servers: measured by the tokenizer at hand, else by estimate; native on loops."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from support.remote_cases import CASES, Case, Connect, Lines, Serve
from support.remote_oracle import Oracle
from support.served_engines import Tei
from support.served_vllm import VllmPooling

from shared_core import Reranker, TextEncodingError
from shared_core.windows import folding

QUERY = "Which planet is known as the Red Planet?"
FILLER = "Venus is hot, and its clouds are thick. " * 12
DOCUMENTS = [FILLER + "Mars looks red. " + FILLER, "Mars.", "火星是红色的。" * 30]
WINDOWS: dict[str, Any] = {"long_documents": "windows", "window_tokens": 48}

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cases
def test_every_dialect_scores_windows_as_documents(
    case: Case, lines: Lines, reranker: Reranker
) -> None:
    """Whatever measured them, the score is the local model's of that text."""
    line = lines(case)
    ranked = line.reranker.rerank(QUERY, DOCUMENTS, **WINDOWS, return_window=True)
    assert sorted(one.index for one in ranked) == [0, 1, 2]
    for one in ranked:
        text = one.document.strip() if case.name == "infinity" else one.document
        (alone,) = reranker.score(QUERY, [text])  # Infinity strips what it gets
        assert one.score == pytest.approx(alone, abs=1e-6)
        if one.window is not None:
            assert one.document == DOCUMENTS[one.index][slice(*one.window)]
            assert reranker.rerank(QUERY, [one.document])[0].n_tokens <= 48 + 120  # type: ignore[operator]
    assert {one.index for one in ranked if one.window is not None} >= {0, 2}
    assert asyncio.run(line.reranker.arerank(QUERY, DOCUMENTS, **WINDOWS, return_window=True)) == (
        ranked
    )


def test_with_a_tokenizer_windows_are_those_of_the_local_model(
    serve: Serve, connect: Connect, oracle: Oracle, reranker: Reranker, checkpoint: Path
) -> None:
    remote = connect(serve(VllmPooling(oracle)), tokenizer=str(checkpoint))
    found = remote.rerank(QUERY, DOCUMENTS, **WINDOWS)
    local = reranker.rerank(QUERY, DOCUMENTS, **WINDOWS)
    told = [(one.index, one.window, one.n_tokens, one.total_tokens, one.truncated) for one in found]
    assert told == [
        (one.index, one.window, one.n_tokens, one.total_tokens, one.truncated) for one in local
    ]


async def test_an_event_loop_neither_splits_nor_asks_from_another_loop(
    serve: Serve, connect: Connect, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = connect(serve(Tei(oracle, templated=True)), template="server-fixed")
    threads = []
    plan = folding.split_windows

    def noted(*args: Any, **options: Any) -> Any:
        threads.append(threading.current_thread().name)
        return plan(*args, **options)

    monkeypatch.setattr(folding, "split_windows", noted)
    before = {thread.name for thread in threading.enumerate()}
    ranked = await asyncio.gather(*(remote.arerank(QUERY, DOCUMENTS, **WINDOWS) for _ in range(3)))
    assert ranked[0] == ranked[1] == ranked[2]
    assert set(threads) == {"qwen3-rerank-split_0"}
    started = {thread.name for thread in threading.enumerate()} - before
    assert "qwen3-rerank-http" not in started


def test_a_lone_surrogate_is_named_before_anything_is_sent(
    serve: Serve, connect: Connect, oracle: Oracle
) -> None:
    server = serve(Tei(oracle, templated=True))
    remote = connect(server, template="server-fixed")
    remote.score(QUERY, ["warm up"])
    server.seen.clear()
    with pytest.raises(TextEncodingError, match="document 1"):
        remote.rerank(QUERY, [DOCUMENTS[0], "\ud800"], **WINDOWS)
    assert server.seen == []
