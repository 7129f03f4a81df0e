"""Dialects of hosted APIs, by their documentation in 2026; see docs/servers.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shared_core.scorers.remote.contents import ImageShape
from shared_core.scorers.remote.dialects.base import (
    USAGE,
    Batch,
    Dialect,
    Parsed,
    Scale,
    Template,
    field,
    in_order,
    rows,
    tokens,
)
from shared_core.scorers.remote.dialects.servers import Compatible


class SiliconFlow(Compatible):
    """SiliconFlow: the open Qwen3-Reranker models, templated, with an instruction."""

    name: ClassVar[str] = "siliconflow"
    base_url: ClassVar[str | None] = "https://api.siliconflow.cn"
    key_variables: ClassVar[tuple[str, ...]] = ("SILICONFLOW_API_KEY",)
    templates: tuple[Template, ...] = ("server", "server-fixed")
    documented: Template | None = "server"
    instruction_name: ClassVar[str | None] = "instruction"

    def parse(self, reply: Any, batch: Batch) -> Parsed:
        parsed = super().parse(reply, batch)
        counted = tokens(reply, ("meta", "tokens", "input_tokens"), ("tokens", "input_tokens"))
        return Parsed(parsed.rows, counted)


class DashScope(Dialect):
    """Alibaba Cloud Model Studio, native form. ``qwen3-rerank`` is a model of its own."""

    name: ClassVar[str] = "dashscope"
    judges_otherwise: ClassVar[bool] = True
    path: ClassVar[str] = "/api/v1/services/rerank/text-rerank/text-rerank"
    base_url: ClassVar[str | None] = "https://dashscope.aliyuncs.com"
    key_variables: ClassVar[tuple[str, ...]] = ("DASHSCOPE_API_KEY",)
    templates: tuple[Template, ...] = ("server", "server-fixed")
    documented: Template | None = "server"
    max_documents: int = 500
    max_tokens: int | None = 120_000

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

    name: ClassVar[str] = "dashscope-compatible"
    judges_otherwise: ClassVar[bool] = True
    path: ClassVar[str] = "/compatible-api/v1/reranks"
    base_url: ClassVar[str | None] = DashScope.base_url
    key_variables: ClassVar[tuple[str, ...]] = DashScope.key_variables
    templates: tuple[Template, ...] = ("server", "server-fixed")
    documented: Template | None = "server"
    max_documents: int = 500
    max_tokens: int | None = 120_000
    instruction_name: ClassVar[str | None] = "instruct"


class DeepInfra(Dialect):
    """DeepInfra: one query per document, scores in input order."""

    name: ClassVar[str] = "deepinfra"
    path: ClassVar[str] = "/v1/inference/{model}"
    base_url: ClassVar[str | None] = "https://api.deepinfra.com"
    key_variables: ClassVar[tuple[str, ...]] = ("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN")
    templates: tuple[Template, ...] = ("server", "server-fixed")

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

    name: ClassVar[str] = "fireworks"
    path: ClassVar[str] = "/inference/v1/rerank"
    base_url: ClassVar[str | None] = "https://api.fireworks.ai"
    key_variables: ClassVar[tuple[str, ...]] = ("FIREWORKS_API_KEY",)

    def parse(self, reply: Any, batch: Batch) -> Parsed:  # noqa: ARG002
        name = "data" if isinstance(reply, Mapping) and "data" in reply else "results"
        return Parsed(rows(field(reply, name), "relevance_score"), tokens(reply, *USAGE))


class Novita(Compatible):
    """Novita."""

    name: ClassVar[str] = "novita"
    path: ClassVar[str] = "/openai/v1/rerank"
    base_url: ClassVar[str | None] = "https://api.novita.ai"
    key_variables: ClassVar[tuple[str, ...]] = ("NOVITA_API_KEY",)


class Together(Compatible):
    """Together."""

    name: ClassVar[str] = "together"
    base_url: ClassVar[str | None] = "https://api.together.xyz"
    key_variables: ClassVar[tuple[str, ...]] = ("TOGETHER_API_KEY",)


class Nebius(Compatible):
    """Nebius Token Factory: vLLM's form, without ``top_n``."""

    name: ClassVar[str] = "nebius"
    base_url: ClassVar[str | None] = "https://api.tokenfactory.nebius.com"
    key_variables: ClassVar[tuple[str, ...]] = ("NEBIUS_API_KEY",)
    left_out: ClassVar[frozenset[str]] = frozenset({"top_n", "return_documents"})


class PrimeIntellect(Compatible):
    """Prime Intellect: templated, takes an instruction, refuses what is too long."""

    name: ClassVar[str] = "prime-intellect"
    path: ClassVar[str] = "/api/v1/rerank"
    base_url: ClassVar[str | None] = "https://api.pinference.ai"
    key_variables: ClassVar[tuple[str, ...]] = ("PRIME_API_KEY",)
    templates: tuple[Template, ...] = ("server", "server-fixed")
    documented: Template | None = "server"
    max_documents: int = 1000
    max_bytes: int = 16 * 2**20
    instruction_name: ClassVar[str | None] = "instruction"


class Jina(Compatible):
    """Jina's own rerankers."""

    name: ClassVar[str] = "jina"
    judges_otherwise: ClassVar[bool] = True
    images: ClassVar[ImageShape] = "single"
    base_url: ClassVar[str | None] = "https://api.jina.ai"
    key_variables: ClassVar[tuple[str, ...]] = ("JINA_API_KEY",)
    templates: tuple[Template, ...] = ("server-fixed",)
    documented: Template | None = "server-fixed"


class Cohere(Compatible):
    """Cohere's own rerankers, API version 2."""

    name: ClassVar[str] = "cohere"
    judges_otherwise: ClassVar[bool] = True
    path: ClassVar[str] = "/v2/rerank"
    base_url: ClassVar[str | None] = "https://api.cohere.com"
    key_variables: ClassVar[tuple[str, ...]] = ("CO_API_KEY", "COHERE_API_KEY")
    templates: tuple[Template, ...] = ("server-fixed",)
    documented: Template | None = "server-fixed"
    max_documents: int = 1000
    left_out: ClassVar[frozenset[str]] = frozenset({"return_documents"})


class Voyage(Dialect):
    """Voyage's own rerankers."""

    name: ClassVar[str] = "voyage"
    judges_otherwise: ClassVar[bool] = True
    base_url: ClassVar[str | None] = "https://api.voyageai.com"
    key_variables: ClassVar[tuple[str, ...]] = ("VOYAGE_API_KEY",)
    templates: tuple[Template, ...] = ("server-fixed",)
    documented: Template | None = "server-fixed"
    max_documents: int = 1000

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

    name: ClassVar[str] = "nim"
    judges_otherwise: ClassVar[bool] = True
    path: ClassVar[str] = "/v1/ranking"
    key_variables: ClassVar[tuple[str, ...]] = ("NVIDIA_API_KEY", "NGC_API_KEY")
    templates: tuple[Template, ...] = ("server-fixed",)
    documented: Template | None = "server-fixed"
    scale: Scale = "logit"
    max_documents: int = 512

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

    name: ClassVar[str] = "nvidia"
    path: ClassVar[str] = "/v1/retrieval/{model}/reranking"
    base_url: ClassVar[str | None] = "https://ai.api.nvidia.com"
