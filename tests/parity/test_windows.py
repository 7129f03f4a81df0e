"""A window's score is that of its text as a document, and no token is counted otherwise."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from parity import reference
from support.checkpoints import write_checkpoint
from support.texts import random_text
from transformers import AutoTokenizer, Qwen3ForCausalLM

from shared_core import Reranker
from shared_core.prompt.encoding import PairEncoder
from shared_core.windows.windows import split_windows

QUERY = "Which planet is known as the Red Planet?"
TOKENS = 64


def make_documents() -> list[str]:
    source = random.Random(11)
    long = [". ".join(random_text(source, 40) for _ in range(12)) for _ in range(4)]
    return [*long, "Mars.", "", "火星是红色的。" * 80, "planet " * 300, long[0]]


DOCUMENTS = make_documents()


@pytest.mark.parametrize("max_batch_tokens", [None, 128])
def test_the_score_is_that_of_the_best_window_alone(
    tmp_path: Path, real_tokenizer: Any, max_batch_tokens: int | None
) -> None:
    folder = write_checkpoint(tmp_path, real_tokenizer, initializer_range=0.15)
    model = Qwen3ForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = PairEncoder(tokenizer.backend_tokenizer, 8192)

    def alone(text: str) -> float:
        ids = reference.prompt_ids(tokenizer, None, QUERY, text)
        return float(reference.probability(model, tokenizer, ids))

    with Reranker(
        str(folder), dtype="float32", device="cpu", max_batch_tokens=max_batch_tokens
    ) as reranker:
        ranked = reranker.rerank(
            QUERY, DOCUMENTS, long_documents="windows", window_tokens=TOKENS, return_window=True
        )
    assert [one.logit for one in ranked] == sorted((one.logit for one in ranked), reverse=True)
    for one in ranked:
        document = DOCUMENTS[one.index]
        (n_tokens,) = encoder.count([document])
        spans = [(0, len(document))]
        if n_tokens > TOKENS:
            spans = split_windows(
                document, n_tokens, encoder.count, most_tokens=TOKENS, overlap=TOKENS // 8
            )
        scores = [alone(document[start:end]) for start, end in spans]
        assert one.score == pytest.approx(max(scores), abs=1e-5)
        assert one.window == (None if n_tokens <= TOKENS else spans[scores.index(max(scores))])
        assert one.truncated is False
        assert one.score == pytest.approx(alone(one.document), abs=1e-5)
        prompts = [
            len(reference.prompt_ids(tokenizer, None, QUERY, document[start:end]))
            for start, end in spans
        ]
        assert one.n_tokens == len(reference.prompt_ids(tokenizer, None, QUERY, one.document))
        assert one.total_tokens == sum(prompts)


def test_truncation_is_as_it_was(reranker: Reranker) -> None:
    """The default asks the backend for the very same documents; only the fields are new."""
    ranked = reranker.rerank(QUERY, DOCUMENTS)
    by_index = {one.index: one for one in ranked}
    for index, document in enumerate(DOCUMENTS):
        (single,) = reranker.rerank(QUERY, [document])
        one = by_index[index]
        assert one.logit is not None
        assert math.isclose(one.logit, single.logit or 0.0, abs_tol=1e-5)
        assert (one.window, one.document, one.total_tokens) == (None, document, one.n_tokens)


def test_windows_leave_room_for_the_prompt(checkpoint: Path) -> None:
    """Nothing is cut, however small ``max_length`` is."""
    with Reranker(str(checkpoint), dtype="float32", device="cpu", max_length=120) as reranker:
        cut = reranker.rerank(QUERY, DOCUMENTS)
        ranked = reranker.rerank(QUERY, DOCUMENTS, long_documents="windows")
    assert any(one.truncated for one in cut)
    assert not any(one.truncated for one in ranked)
    assert max(one.n_tokens or 0 for one in ranked) in range(110, 121)
