"""Dialects of vLLM's five routes. Tried on 0.32.0; read in the wheels of 0.9.2 to 0.33.0."""

from __future__ import annotations

from typing import Any

from shared_core.errors import InvalidReplyError
from shared_core.scorers.remote.dialects.base import (
    USAGE,
    Batch,
    Dialect,
    Parsed,
    Row,
    Scale,
    describe,
    field,
    items_body,
    number,
    rows,
    sequence,
    tokens,
    whole,
)


class Pooling(Dialect):
    """Base of the routes of a pooling server.

    Args:
        raw: Ask for logits by ``use_activation: false``, which 0.13 and later know.
    """

    asks = True

    def __init__(self, *, raw: bool = True) -> None:
        self.scale: Scale = "logit" if raw else "probability"

    def _activation(self) -> dict[str, Any]:
        return {"use_activation": False} if self.scale == "logit" else {}


class VllmClassify(Pooling):
    """``/classify``: whole prompts, also as token ids; the server applies no template."""

    name = "vllm-classify"
    path = "/classify"
    templates = ("prompt",)
    documented = "prompt"
    takes_ids = True

    def build(self, batch: Batch) -> dict[str, Any]:
        return {"model": batch.model, "input": batch.prompts, **self._activation()}

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002  # every dialect has both
        found = []
        for item in sequence(field(reply, "data")):
            values = sequence(field(item, "probs"))
            if len(values) != 1:
                raise InvalidReplyError(
                    f"the server's classifier has {len(values)} labels, a reranker has one: start "
                    "it with the overrides that make one of the checkpoint (docs/servers.md)"
                )
            found.append(Row(whole(field(item, "index"), "index"), number(values[0], "probs")))
        return Parsed(found, tokens(reply, *USAGE))


class VllmRerank(Pooling):
    """``/v1/rerank``: uses a template if the server was started with ``--chat-template``."""

    name = "vllm-rerank"
    path = "/v1/rerank"
    images = "content"
    templates = ("server", "server-fixed", "client")

    def build(self, batch: Batch) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": batch.model,
            "query": batch.query,
            "documents": list(batch.documents),
            "top_n": len(batch),
            **self._activation(),
        }
        if batch.instruction is not None:
            body["instruction"] = batch.instruction
        if batch.max_document_tokens is not None:
            body["max_tokens_per_doc"] = batch.max_document_tokens
        return body

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        return Parsed(rows(field(reply, "results"), "relevance_score"), tokens(reply, *USAGE))


class VllmScore(VllmRerank):
    """``/score``: as ``/v1/rerank``, in input order and without an echo."""

    name = "vllm-score"
    path = "/score"

    def build(self, batch: Batch) -> dict[str, Any]:
        body = super().build(batch)
        del body["top_n"]
        # These names are known to every version; "queries" and "documents" only since 0.16.
        body["text_1"], body["text_2"] = body.pop("query"), body.pop("documents")
        return body

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        return Parsed(rows(field(reply, "data"), "score"), tokens(reply, *USAGE))


class VllmCompletions(Dialect):
    """``/v1/completions`` of a generate server: the log-probabilities of both answers (0.26)."""

    name = "vllm-completions"
    path = "/v1/completions"
    asks = True
    templates = ("prompt",)
    documented = "prompt"
    scale = "logit"
    takes_ids = True

    def build(self, batch: Batch) -> dict[str, Any]:
        return {
            "model": batch.model,
            "prompt": batch.prompts,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": 1,
            "logprob_token_ids": [batch.yes_id, batch.no_id],
            "return_tokens_as_token_ids": True,
        }

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        found = []
        for choice in sequence(field(reply, "choices")):
            listed = sequence(field(choice, "logprobs", "top_logprobs"))
            if len(listed) != 1:
                raise InvalidReplyError(
                    f"expected log-probabilities of one token, got {len(listed)}"
                )
            yes, no = (
                self._logprob(listed[0], token_id) for token_id in (batch.yes_id, batch.no_id)
            )
            found.append(Row(whole(field(choice, "index"), "index"), yes - no))
        return Parsed(found, tokens(reply, ("usage", "prompt_tokens")))

    def _logprob(self, listed: Any, token_id: int) -> float:
        name = f"token_id:{token_id}"
        if not isinstance(listed, dict) or name not in listed:
            raise InvalidReplyError(
                f"the reply has no log-probability of token {token_id}, only {describe(listed)}: "
                "vLLM answers logprob_token_ids since 0.26; use a newer one, or a pooling server"
            )
        value = number(listed[name], name)
        if value <= -9999:  # what vLLM writes for minus infinity
            raise InvalidReplyError(f"the log-probability of token {token_id} is minus infinity")
        return value


class VllmGenerative(Dialect):
    """``/generative_scoring`` of a generate server (0.20): one prefix and many items."""

    name = "vllm-generative"
    path = "/generative_scoring"
    asks = True
    cuts_silently = True
    templates = ("prompt",)
    documented = "prompt"
    takes_ids = True

    def build(self, batch: Batch) -> dict[str, Any]:
        return {**items_body(batch), "add_special_tokens": False}

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        return Parsed(rows(field(reply, "data"), "score"), tokens(reply, *USAGE))
