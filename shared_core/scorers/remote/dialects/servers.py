"""Dialects of self-hosted servers, besides vLLM and SGLang."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, ClassVar

from shared_core.errors import InvalidReplyError
from shared_core.prompt import DEFAULT_INSTRUCTION, NO, YES
from shared_core.scorers.remote.dialects.base import (
    USAGE,
    Batch,
    Dialect,
    Parsed,
    Row,
    Scale,
    Template,
    field,
    number,
    rows,
    sequence,
    tokens,
)

_BIAS = 300.0  # more than any logits differ; float32 still tells 3e-5 apart there


class Compatible(Dialect):
    """The common form of Jina and Cohere, and the replies of most servers that adopted it.

    Attributes:
        instruction_name: The field of an instruction; ``None`` where there is none.
        left_out: Fields of this form that a server does not take.
    """

    name = "compatible"
    instruction_name: ClassVar[str | None] = None
    left_out: ClassVar[frozenset[str]] = frozenset()
    templates: tuple[Template, ...] = ("server-fixed", "client")

    def build(self, batch: Batch) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": batch.model,
            "query": batch.query,
            "documents": list(batch.documents),
            "top_n": len(batch),
            "return_documents": False,
        }
        if self.instruction_name is not None and batch.instruction is not None:
            body[self.instruction_name] = batch.instruction
        return {name: value for name, value in body.items() if name not in self.left_out}

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002  # every dialect has both
        return Parsed(
            rows(field(reply, "results"), "relevance_score"),
            tokens(reply, *USAGE, ("meta", "tokens", "input_tokens")),
        )


class Plain(Dialect):
    """The smallest form: ``{query, documents}`` → ``{results: [{index, document, score}]}``.

    It is what the service of this project speaks.
    """

    name = "plain"
    path = "/rerank"
    images = "content"
    templates = ("server", "server-fixed")

    def build(self, batch: Batch) -> dict[str, Any]:
        body: dict[str, Any] = {"query": batch.query, "documents": list(batch.documents)}
        if batch.instruction is not None:
            body["instruction"] = batch.instruction
        return body

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        items, counted = sequence(field(reply, "results")), tokens(reply, *USAGE)
        if not all(isinstance(item, dict) and "logit" in item for item in items):
            return Parsed(rows(items, "score"), counted)
        described = [  # as our service does
            replace(
                row,
                n_tokens=tokens(item, ("n_tokens",)),
                truncated=None if item.get("truncated") is None else item["truncated"] is True,
            )
            for row, item in zip(rows(items, "logit"), items, strict=True)
        ]
        return Parsed(described, counted, "logit")


class Tei(Dialect):
    """Text Embeddings Inference 1.9, and servers with the same format.

    Args:
        raw: Ask for logits by ``raw_scores``. llama.cpp takes it, and answers with probabilities.
    """

    name = "tei"
    path = "/rerank"
    templates = ("server-fixed", "client")
    max_documents = 32
    max_bytes = 2_000_000
    retried = frozenset([424])

    def __init__(self, *, raw: bool = False) -> None:
        self.scale: Scale = "logit" if raw else "probability"

    def build(self, batch: Batch) -> dict[str, Any]:
        return {
            "query": batch.query,
            "texts": list(batch.documents),
            "raw_scores": self.scale == "logit",
            "return_text": False,
            # Its truncation would cut the end of the prompt.
            "truncate": False,
        }

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        return Parsed(rows(reply, "score"))


class LlamaCpp(Compatible):
    """llama.cpp's server: the template inside the GGUF file, with the default instruction."""

    name = "llamacpp"
    templates = ("server-fixed",)
    documented = "server-fixed"
    counts_prompt = True
    remedy = (
        "The GGUF file lacks the rerank head and its template: take one of ggml-org/Qwen3-Reranker-"
        "*-GGUF, or convert the model again with a current convert_hf_to_gguf.py."
    )
    # It fills its template in by replacing {query} first, and then this, in the query too.
    reserved = ("{document}",)
    left_out = frozenset({"return_documents"})


class LlamaCppCompletion(Dialect):
    """llama.cpp's ``/completion``: a whole prompt by token ids; the exact route, one at a time.

    Both answers are made likelier by the same, so that they are the two likeliest tokens; the
    difference of their logits stays. Tried on the build of xllamacpp 2026.10.
    """

    name = "llamacpp-completion"
    path = "/completion"
    asks = True
    counts_prompt = True
    templates = ("prompt",)
    documented = "prompt"
    scale = "logit"
    takes_ids = True
    max_documents = 1

    def build(self, batch: Batch) -> dict[str, Any]:
        return {
            "prompt": batch.prompts[0],
            "n_predict": 1,
            "n_probs": 2,
            "logit_bias": [[batch.yes_id, _BIAS], [batch.no_id, _BIAS]],
            "samplers": [],
            "temperature": 1.0,
            "post_sampling_probs": True,
            "cache_prompt": True,
        }

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        steps = sequence(field(reply, "completion_probabilities"))
        if len(steps) != 1:
            raise InvalidReplyError(f"expected the probabilities of one token, got {len(steps)}")
        listed = {
            str(field(entry, "token")): _log(number(field(entry, "prob"), "prob"))
            for entry in sequence(field(steps[0], "top_probs"))
        }
        # By their names: without a tokenizer the ids are those of Qwen3, which it may not be.
        return Parsed([_difference(listed)], tokens(reply, ("tokens_evaluated",)))


class Infinity(Compatible):
    """Infinity 0.0.77. It strips texts, so that no client can write the prompt exactly."""

    name = "infinity"
    path = "/rerank"
    asks = True
    counts_tokens = False  # but characters
    left_out = frozenset({"top_n"})
    templates = ("server-fixed",)
    scale = "logit"
    max_documents = 2048
    remedy = (
        "Infinity writes no prompt and strips texts, so that nobody can: use another server "
        "(docs/servers.md)."
    )

    def build(self, batch: Batch) -> dict[str, Any]:
        return {**super().build(batch), "raw_scores": True}


class Xinference(Compatible):
    """Xinference: it writes the prompt; only its transformers engine takes an instruction."""

    name = "xinference"
    counts_prompt = True
    remedy = (
        "Xinference chooses the prompt by the registered name: register the model under one that "
        "contains qwen3. With its llama.cpp engine, the GGUF file must have the rerank head."
    )
    templates = ("server", "server-fixed")
    documented = "server"

    def build(self, batch: Batch) -> dict[str, Any]:
        body = {**super().build(batch), "return_len": True}
        # The other engines answer 500 to any of these, which is better than to ignore it.
        if batch.instruction not in (None, DEFAULT_INSTRUCTION):
            body["kwargs"] = json.dumps({"instruction": batch.instruction})
        return body


class LocalAI(Compatible):
    """LocalAI: its backend decides; usually llama.cpp's template."""

    name = "localai"
    counts_prompt = True
    remedy = LlamaCpp.remedy
    templates = ("server-fixed",)
    documented = "server-fixed"
    reserved = LlamaCpp.reserved
    left_out = LlamaCpp.left_out


class LiteLLM(Compatible):
    """LiteLLM's proxy: the server behind it decides, so the template is probed."""

    name = "litellm"
    remedy = (
        "It is decided by the server behind the proxy: ask that one with `qwen3-rerank check`, and "
        "mend it by docs/servers.md."
    )
    templates = ("server", "server-fixed", "client")
    instruction_name = "instruction"
    retried = frozenset([500])  # its answer where the server behind it cannot be reached


class Ollama(Dialect):
    """Ollama has no rerank route: one raw generation per document, and its log-probabilities."""

    name = "ollama"
    path = "/api/generate"
    templates = ("prompt",)
    documented = "prompt"
    scale = "logit"
    max_documents = 1

    def build(self, batch: Batch) -> dict[str, Any]:
        return {
            "model": batch.model,
            "prompt": batch.prompts[0],
            "raw": True,
            "stream": False,
            "logprobs": True,
            "top_logprobs": 20,
            "options": {"num_predict": 1, "temperature": 0},
        }

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        steps = sequence(field(reply, "logprobs"))
        if len(steps) != 1:
            raise InvalidReplyError(f"expected log-probabilities of one token, got {len(steps)}")
        listed = {
            str(field(entry, "token")): number(field(entry, "logprob"), "logprob")
            for entry in sequence(field(steps[0], "top_logprobs"))
        }
        return Parsed([_difference(listed)], tokens(reply, ("prompt_eval_count",)))


def _log(probability: float) -> float:
    """Return the logarithm; of 0, which float32 may round to, that of its smallest number.

    Raises:
        InvalidReplyError: It is no probability.
    """
    if not 0.0 <= probability <= 1.0:
        raise InvalidReplyError(f"prob is {probability:g}, expected a probability in [0, 1]")
    return math.log(max(probability, 1e-45))


def _difference(listed: dict[str, float]) -> Row:
    """Return the margin, if the server listed both answers; a missing one is an error."""
    missing = [name for name in (YES, NO) if name not in listed]
    if missing:
        raise InvalidReplyError(
            f"the {len(listed)} likeliest tokens do not hold {' and '.join(missing)}: the score "
            "cannot be known from them. Is it a Qwen3-Reranker? Else use a server that reports the "
            "log-probabilities of named tokens (docs/servers.md)"
        )
    return Row(0, listed[YES] - listed[NO])
