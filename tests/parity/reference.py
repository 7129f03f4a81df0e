"""The published recipe, restated one pair at a time.

Source: QwenLM/Qwen3-Embedding, ``examples/qwen3_reranker_transformers.py`` and README at f4ad0c4
(the model card's transformers usage). Nothing here is imported from the packages under test, and
nothing is batched, padded, packed or cached: what it computes is what the model's authors publish.
Only the logits of positions that nobody looks at are left out, by transformers' own option.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen3ForCausalLM

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def format_instruction(instruction: str | None, query: str, document: str) -> str:
    """Return the body of the prompt."""
    if instruction is None:
        instruction = INSTRUCTION
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"


def prompt_ids(
    tokenizer, instruction: str | None, query: str, document: str, max_length: int = 8192
) -> list[int]:
    """Return the token ids of one prompt; the body is cut on the right to make it fit."""
    prefix = tokenizer.encode(PREFIX, add_special_tokens=False)
    suffix = tokenizer.encode(SUFFIX, add_special_tokens=False)
    body = tokenizer(
        format_instruction(instruction, query, document),
        padding=False,
        truncation="longest_first",
        return_attention_mask=False,
        max_length=max_length - len(prefix) - len(suffix),
        add_special_tokens=False,
    )["input_ids"]
    return prefix + body + suffix


@torch.no_grad()
def margin(model, tokenizer, ids: list[int]) -> float:
    """Return logit(yes) − logit(no) after one prompt, from the full model's own logits."""
    tensor = torch.tensor([ids], device=model.device)
    logits = model(input_ids=tensor, logits_to_keep=1).logits[0, -1]
    yes = tokenizer.convert_tokens_to_ids("yes")
    no = tokenizer.convert_tokens_to_ids("no")
    return float(logits[yes] - logits[no])


@torch.no_grad()
def probability(model, tokenizer, ids: list[int]) -> float:
    """Return P(yes) as the model card computes it: softmax over the two logits, "no" first."""
    tensor = torch.tensor([ids], device=model.device)
    logits = model(input_ids=tensor, logits_to_keep=1).logits[:, -1, :]
    yes = logits[:, tokenizer.convert_tokens_to_ids("yes")]
    no = logits[:, tokenizer.convert_tokens_to_ids("no")]
    pair = torch.nn.functional.log_softmax(torch.stack([no, yes], dim=1), dim=1)
    return float(pair[:, 1].exp()[0])


def probabilities(folder: Path, query: str, documents: list[str]) -> list[float]:
    """Return P(yes) of each document by a checkpoint, in float32 on the CPU."""
    model = Qwen3ForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        probability(model, tokenizer, prompt_ids(tokenizer, None, query, document))
        for document in documents
    ]
