"""Scores equal those of sentence-transformers' `CrossEncoder` on the same checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import write_checkpoint

from shared_core import Reranker

cross_encoder = pytest.importorskip(
    "sentence_transformers.cross_encoder", reason="not here: pip install -r requirements-dev.txt"
)

# The published prompt for the roles that sentence-transformers sends. Jinja drops one newline at
# the end of a template, so the suffix is put in as an expression.
CHAT_TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: "
    "{%- set ns = namespace(instruction='Given a web search query, retrieve relevant passages "
    "that answer the query', query='', document='') -%}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' -%}{%- set ns.instruction = message.content -%}"
    "{%- elif message.role == 'query' -%}{%- set ns.query = message.content -%}"
    "{%- elif message.role == 'document' -%}{%- set ns.document = message.content -%}"
    "{%- endif -%}{%- endfor -%}"
    "{{ ' ' + ns.instruction + '\n<Query>: ' + ns.query + '\n<Document>: ' + ns.document"
    " + '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n' }}"
)
QUERY = "What is the capital of China?"
DOCUMENTS = [
    "The capital of China is Beijing.",
    "Gravity is a force that attracts two bodies towards each other.",
    "中国的首都是北京。",
    "Tianjin lies near the sea. " * 20,
    "",
]


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("instruction", [None, "Find the capital"])
def test_scores_equal_sentence_transformers(
    tmp_path: Path, real_tokenizer: Any, tied: bool, instruction: str | None
) -> None:
    folder = write_checkpoint(
        tmp_path, real_tokenizer, tie_word_embeddings=tied, initializer_range=0.15
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    peer = cross_encoder.CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, document) for document in DOCUMENTS]
    logits = {"batch_size": 3, "activation_fn": torch.nn.Identity()}
    expected = peer.predict(pairs, prompt=instruction, **logits).tolist()
    with Reranker(str(folder), dtype="float32", device="cpu") as reranker:
        ranking = reranker.rerank(QUERY, DOCUMENTS, instruction=instruction)
    assert max(expected) - min(expected) > 0.01
    for one in ranking:
        assert abs(one.logit - expected[one.index]) < 1e-5
        assert abs(one.score - 1 / (1 + math.exp(-expected[one.index]))) < 1e-5
