"""What is sent: these fields and no others. The test servers refuse those that they do not know."""

from __future__ import annotations

import json
from typing import Any

import pytest
from parity import reference
from support.remote_cases import CASES, Case, Lines
from support.remote_oracle import Oracle

MODEL = "Qwen/Qwen3-Reranker-8B"
INSTRUCTION = "Find the colour"
PLAIN = {"query": "q", "documents": ["a", "b"]}
NAMED = {"model": "reranker", **PLAIN}
COMMON = {**NAMED, "top_n": 2, "return_documents": False}
HOSTED = {**COMMON, "model": MODEL}
BOTH = ("a", "b")


def whole(document: str, instruction: str = INSTRUCTION) -> str:
    content = reference.format_instruction(instruction, "q", document)
    return reference.PREFIX + content + reference.SUFFIX


HEAD = whole("").removesuffix(f" {reference.SUFFIX}")
RESTS = [f" {document}{reference.SUFFIX}" for document in BOTH]
WRAPPED = {
    "query": HEAD.removesuffix("<Document>:"),
    "documents": [f"<Document>: {document}{reference.SUFFIX}" for document in BOTH],
}

BODIES: dict[str, Any] = {
    "vllm-classify-text": {
        "model": "reranker",
        "input": [whole("a"), whole("b")],
        "use_activation": False,
    },
    "vllm-rerank": {**NAMED, "top_n": 2, "use_activation": False, "instruction": INSTRUCTION},
    "vllm-rerank-fixed": {**NAMED, "top_n": 2, "use_activation": False},
    "vllm-rerank-client": {"model": "reranker", **WRAPPED, "top_n": 2, "use_activation": False},
    "vllm-score": {
        "model": "reranker",
        "text_1": "q",
        "text_2": ["a", "b"],
        "use_activation": False,
        "instruction": INSTRUCTION,
    },
    "vllm-completions-text": {
        "model": "reranker",
        "prompt": [whole("a"), whole("b")],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1,
        "logprob_token_ids": ["yes", "no"],
        "return_tokens_as_token_ids": True,
    },
    "vllm-generative-text": {
        "model": "reranker",
        "query": HEAD,
        "items": RESTS,
        "label_token_ids": ["yes", "no"],
        "apply_softmax": True,
        "item_first": False,
        "add_special_tokens": False,
    },
    "sglang-rerank": {**PLAIN, "return_documents": False, "instruct": INSTRUCTION},
    "tei": {
        "query": WRAPPED["query"],
        "texts": WRAPPED["documents"],
        "raw_scores": True,
        "return_text": False,
        "truncate": False,
    },
    "llamacpp": {**NAMED, "top_n": 2},
    "infinity": {**NAMED, "return_documents": False, "raw_scores": True},
    "xinference": {
        **COMMON,
        "return_len": True,
        "kwargs": json.dumps({"instruction": INSTRUCTION}),
    },
    "localai": {**NAMED, "top_n": 2},
    "litellm": {**COMMON, "instruction": INSTRUCTION},
    "litellm-client": {**COMMON, **WRAPPED},
    "compatible": COMMON,
    "plain": {**PLAIN, "instruction": INSTRUCTION},
    "siliconflow": {**HOSTED, "instruction": INSTRUCTION},
    "dashscope": {
        "model": "qwen3-rerank",
        "input": PLAIN,
        "parameters": {"top_n": 2, "return_documents": False, "instruct": INSTRUCTION},
    },
    "dashscope-compatible": {**COMMON, "model": "qwen3-rerank", "instruct": INSTRUCTION},
    "deepinfra": {"queries": ["q", "q"], "documents": ["a", "b"], "instruction": INSTRUCTION},
    "fireworks": HOSTED,
    "novita-client": {**HOSTED, **WRAPPED},
    "together": HOSTED,
    "nebius": {"model": MODEL, **PLAIN},
    "prime-intellect": {**HOSTED, "instruction": INSTRUCTION},
    "jina": HOSTED,
    "cohere": {"model": MODEL, **PLAIN, "top_n": 2},
    "voyage": {"model": MODEL, **PLAIN, "top_k": 2, "return_documents": False, "truncation": True},
    "nim": {
        "model": MODEL,
        "query": {"text": "q"},
        "passages": [{"text": "a"}, {"text": "b"}],
        "truncate": "END",
    },
}


def case_named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("name", BODIES)
def test_the_body_holds_what_it_should_and_nothing_else(
    name: str, lines: Lines, oracle: Oracle
) -> None:
    case = case_named(name)
    line = lines(case)
    takes_it = case.takes_instruction
    line.reranker.rerank("q", ["a", "b"], top_k=1, instruction=INSTRUCTION if takes_it else None)
    expected = dict(BODIES[name])
    for field in ("logprob_token_ids", "label_token_ids"):
        if field in expected:
            expected[field] = [oracle.yes_id, oracle.no_id]
    assert line.server.bodies == [expected]


@pytest.mark.parametrize(
    ("name", "prompts_of"),
    [
        ("vllm-classify", lambda body: body["input"]),
        ("vllm-completions", lambda body: body["prompt"]),
        ("vllm-generative", lambda body: [body["query"] + item for item in body["items"]]),
        ("sglang-score", lambda body: [body["query"] + item for item in body["items"]]),
    ],
)
def test_token_ids_are_those_of_the_published_recipe(
    name: str, prompts_of: Any, lines: Lines, oracle: Oracle
) -> None:
    line = lines(case_named(name))
    line.reranker.score("q", ["a", "b"], instruction=INSTRUCTION)
    (body,) = line.server.bodies
    assert prompts_of(body) == [oracle.prompt(INSTRUCTION, "q", document) for document in BOTH]


def test_one_prompt_at_a_time_where_the_route_takes_one(lines: Lines, oracle: Oracle) -> None:
    line = lines(case_named("llamacpp-completion"))
    line.reranker.score("q", ["a", "b"], instruction=INSTRUCTION)
    prompts = sorted(body["prompt"] for body in line.server.bodies)
    assert prompts == sorted(oracle.prompt(INSTRUCTION, "q", document) for document in BOTH)
    line = lines(case_named("ollama"))
    line.reranker.score("q", ["a", "b"], instruction=INSTRUCTION)
    assert sorted(body["prompt"] for body in line.server.bodies) == [whole("a"), whole("b")]


def test_the_default_instruction_is_not_sent_where_that_could_fail(lines: Lines) -> None:
    """Xinference's other engines answer 500 to any ``kwargs``."""
    line = lines(case_named("xinference"))
    line.reranker.score("q", ["a"])
    assert "kwargs" not in line.server.bodies[0]
