"""The service undoes a prompt inside a prompt, and refuses what only resembles it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared_core import Reranker

HEAD = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
TASK, QUERY, DOCUMENTS = "Find planets", "Which planet is red?", ["Mars is red.", "Tea is hot."]
WRAPPED = f"{HEAD}<Instruct>: {TASK}\n<Query>: {QUERY}\n"
TEXTS = [f"<Document>: {document}{SUFFIX}" for document in DOCUMENTS]


@pytest.mark.parametrize("window_tokens", [None, 16])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_a_wrapped_query_is_scored_as_what_it_holds(
    client: httpx.Client, reranker: Reranker, path: str, window_tokens: int | None
) -> None:
    body: dict[str, Any] = {"query": WRAPPED, "documents": TEXTS, "return_documents": False}
    if window_tokens is not None:
        body |= {"long_documents": "windows", "window_tokens": window_tokens}
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    found = {
        row["index"]: row.get("relevance_score", row.get("score"))
        for row in reply.json()["results"]
    }
    expected = reranker.score(QUERY, DOCUMENTS, instruction=TASK)
    assert [found[0], found[1]] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "texts",
    [
        {"query": f"{WRAPPED}<Document>:", "documents": DOCUMENTS},
        {"query": QUERY, "documents": DOCUMENTS, "instruction": f"{TASK}\n<Query>: {QUERY}"},
    ],
    ids=["query", "instruction"],
)
def test_what_resembles_the_prompt_is_a_mistake_of_the_caller(
    client: httpx.Client, texts: dict[str, Any]
) -> None:
    reply = client.post("/rerank", json=texts)
    assert reply.status_code == 422
    assert "the model's own prompt" in reply.text
