"""Servers are sent one prompt, also where the query came in one of its own."""

from __future__ import annotations

import pytest
from support.remote_cases import DIALECT_CASES, Case, Lines

HEAD = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
TASK = "Given a web search query, retrieve relevant passages that answer the query"
QUERY, DOCUMENTS = "Which planet is red?", ["Mars is red.", "Tea is hot."]


@pytest.mark.parametrize("case", DIALECT_CASES[:4], ids=lambda case: case.name)
def test_a_wrapped_query_is_sent_as_what_it_holds(case: Case, lines: Lines) -> None:
    reranker = lines(case).reranker
    wrapped = f"{HEAD}<Instruct>: {TASK}\n<Query>: {QUERY}\n"
    texts = [f"<Document>: {document}{SUFFIX}" for document in DOCUMENTS]
    expected = reranker.score(QUERY, DOCUMENTS)
    assert reranker.score(wrapped, texts) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError, match="the model's own prompt"):
        reranker.score(f"{QUERY}{SUFFIX}", DOCUMENTS)
