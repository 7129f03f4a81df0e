"""Dialects of hosted APIs, by their documentation in 2026; see docs/servers.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared_core.scorers.remote.dialects.base import (
    USAGE,
    Batch,
    Dialect,
    Parsed,
    field,
    in_order,
    rows,
    tokens,
)
from shared_core.scorers.remote.dialects.servers import Compatible


class SiliconFlow(Compatible):
    """SiliconFlow: the open Qwen3-Reranker models, templated, with an instruction."""

    name = "siliconflow"
    base_url = "https://api.siliconflow.cn"
    key_variables = ("SILICONFLOW_API_KEY",)
    templates = ("server", "server-fixed")
    documented = "server"
    instruction_name = "instruction"

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        parsed = super().parse(reply, batch)
        counted = tokens(reply, ("meta", "tokens", "input_tokens"), ("tokens", "input_tokens"))
        return Parsed(parsed.rows, counted)


class DashScope(Dialect):
    """Alibaba Cloud Model Studio, native form. ``qwen3-rerank`` is a model of its own."""

    name = "dashscope"
    judges_otherwise = True
    path = "/api/v1/services/rerank/text-rerank/text-rerank"
    base_url = "https://dashscope.aliyuncs.com"
    key_variables = ("DASHSCOPE_API_KEY",)
    templates = ("server", "server-fixed")
    documented = "server"
    max_documents = 500
    max_tokens = 120_000

    def build(self, batch: Batch) -> dict[str, Any]:
        parameters: dict[str, Any] = {"top_n": len(batch), "return_documents": False}
        if batch.instruction is not None:
            parameters["instruct"] = batch.instruction
        texts = {"query": batch.query, "documents": list(batch.documents)}
        return {"model": batch.model, "input": texts, "parameters": parameters}

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002  # every dialect has both
        found = rows(field(reply, "output", "results"), "relevance_score")
        return Parsed(found, tokens(reply, ("usage", "total_tokens")))


class DashScopeCompatible(Compatible):
    """Alibaba Cloud Model Studio, Cohere-like form, with the models of `DashScope`."""

    name = "dashscope-compatible"
    judges_otherwise = True
    path = "/compatible-api/v1/reranks"
    base_url = DashScope.base_url
    key_variables = DashScope.key_variables
    templates = ("server", "server-fixed")
    documented = "server"
    max_documents = 500
    max_tokens = 120_000
    instruction_name = "instruct"


class DeepInfra(Dialect):
    """DeepInfra: one query per document, scores in input order."""

    name = "deepinfra"
    path = "/v1/inference/{model}"
    base_url = "https://api.deepinfra.com"
    key_variables = ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN")
    templates = ("server", "server-fixed")

    def build(self, batch: Batch) -> dict[str, Any]:
        body: dict[str, Any] = {
            "queries": [batch.query] * len(batch),
            "documents": list(batch.documents),
        }
        return body if batch.instruction is None else {**body, "instruction": batch.instruction}

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        counted = tokens(reply, ("input_tokens",), ("inference_status", "tokens_input"))
        return Parsed(in_order(field(reply, "scores")), counted)


class Fireworks(Compatible):
    """Fireworks: rows under ``data`` or ``results``."""

    name = "fireworks"
    path = "/inference/v1/rerank"
    base_url = "https://api.fireworks.ai"
    key_variables = ("FIREWORKS_API_KEY",)

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        name = "data" if isinstance(reply, Mapping) and "data" in reply else "results"
        return Parsed(rows(field(reply, name), "relevance_score"), tokens(reply, *USAGE))


class Novita(Compatible):
    """Novita."""

    name = "novita"
    path = "/openai/v1/rerank"
    base_url = "https://api.novita.ai"
    key_variables = ("NOVITA_API_KEY",)


class Together(Compatible):
    """Together."""

    name = "together"
    base_url = "https://api.together.xyz"
    key_variables = ("TOGETHER_API_KEY",)


class Nebius(Compatible):
    """Nebius Token Factory: vLLM's form, without ``top_n``."""

    name = "nebius"
    base_url = "https://api.tokenfactory.nebius.com"
    key_variables = ("NEBIUS_API_KEY",)
    left_out = frozenset({"top_n", "return_documents"})


class PrimeIntellect(Compatible):
    """Prime Intellect: templated, takes an instruction, refuses what is too long."""

    name = "prime-intellect"
    path = "/api/v1/rerank"
    base_url = "https://api.pinference.ai"
    key_variables = ("PRIME_API_KEY",)
    templates = ("server", "server-fixed")
    documented = "server"
    max_documents = 1000
    max_bytes = 16 * 2**20
    instruction_name = "instruction"


class Jina(Compatible):
    """Jina's own rerankers."""

    name = "jina"
    judges_otherwise = True
    images = "single"
    base_url = "https://api.jina.ai"
    key_variables = ("JINA_API_KEY",)
    templates = ("server-fixed",)
    documented = "server-fixed"


class Cohere(Compatible):
    """Cohere's own rerankers, API version 2."""

    name = "cohere"
    judges_otherwise = True
    path = "/v2/rerank"
    base_url = "https://api.cohere.com"
    key_variables = ("CO_API_KEY", "COHERE_API_KEY")
    templates = ("server-fixed",)
    documented = "server-fixed"
    max_documents = 1000
    left_out = frozenset({"return_documents"})


class Voyage(Dialect):
    """Voyage's own rerankers."""

    name = "voyage"
    judges_otherwise = True
    base_url = "https://api.voyageai.com"
    key_variables = ("VOYAGE_API_KEY",)
    templates = ("server-fixed",)
    documented = "server-fixed"
    max_documents = 1000

    def build(self, batch: Batch) -> dict[str, Any]:
        return {
            "model": batch.model,
            "query": batch.query,
            "documents": list(batch.documents),
            "top_k": len(batch),
            "return_documents": False,
            "truncation": True,
        }

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        found = rows(field(reply, "data"), "relevance_score")
        return Parsed(found, tokens(reply, ("usage", "total_tokens")))


class Nim(Dialect):
    """NVIDIA's rerankers in a NIM container: passages in, logits out."""

    name = "nim"
    judges_otherwise = True
    path = "/v1/ranking"
    key_variables = ("NVIDIA_API_KEY", "NGC_API_KEY")
    templates = ("server-fixed",)
    documented = "server-fixed"
    scale = "logit"
    max_documents = 512

    def build(self, batch: Batch) -> dict[str, Any]:
        return {
            "model": batch.model,
            "query": {"text": batch.query},
            "passages": [{"text": document} for document in batch.documents],
            "truncate": "END",
        }

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        return Parsed(rows(field(reply, "rankings"), "logit"), tokens(reply, *USAGE))


class Nvidia(Nim):
    """NVIDIA's rerankers in its cloud."""

    name = "nvidia"
    path = "/v1/retrieval/{model}/reranking"
    base_url = "https://ai.api.nvidia.com"
