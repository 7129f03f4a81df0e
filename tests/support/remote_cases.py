"""Every dialect with a server that speaks it, in every template state that such a server can be in.

Whoever parametrises over `CASES` tests all of them; over `DIALECT_CASES`, each dialect once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from support import served_hosted as hosted
from support.remote_oracle import Oracle
from support.rerank_server import Kind, RerankServer
from support.served_engines import LlamaCpp, Ollama, Sglang, Tei
from support.served_gateways import Infinity, LiteLLM, LocalAI, OwnService, Xinference
from support.served_vllm import VllmGenerate, VllmPooling

from shared_core import Reranker


@dataclass(frozen=True)
class Case:
    """One dialect with one server.

    Attributes:
        name: Shown by pytest.
        kind: Makes the server's kind from an oracle (and a key).
        options: Of the reranker, besides base_url.
        takes_instruction: Whether one can be sent.
        sends_ids: Whether the reranker is given the tokenizer, and the server token ids.
        reads_literally: Whether the server takes no text for a control token.
        reports_logits: Whether margins survive exactly, not only probabilities.
    """

    name: str
    kind: Callable[..., Kind]
    options: dict[str, Any] = field(default_factory=dict)
    takes_instruction: bool = True
    sends_ids: bool = False
    reads_literally: bool = False
    reports_logits: bool = True

    @property
    def keeps_texts(self) -> bool:
        """Whether control tokens may stand in texts as they are."""
        return self.sends_ids or self.reads_literally

    def serve(self, oracle: Oracle, key: str | None = None) -> Kind:
        return self.kind(oracle, key=key)


Serve = Callable[[Kind], RerankServer]
Connect = Callable[..., Reranker]


@dataclass(frozen=True)
class Line:
    """A server and a reranker that speaks to it."""

    case: Case
    server: RerankServer
    reranker: Reranker


Lines = Callable[[Case], Line]


def _engines() -> list[Case]:
    ids, rerank, score = {"sends_ids": True}, {"dialect": "vllm-rerank"}, {"dialect": "vllm-score"}
    untemplated = partial(VllmPooling, templating="none")
    fixed = partial(VllmPooling, templating="fixed")
    generative = partial(VllmGenerate, version="0.22.0")
    completion = {"dialect": "llamacpp-completion"}
    in_words = {"takes_instruction": False}
    return [
        Case("vllm-classify", VllmPooling, **ids),
        Case("vllm-classify-text", VllmPooling),
        Case("vllm-rerank", VllmPooling, rerank),
        Case("vllm-rerank-fixed", fixed, rerank, **in_words),
        Case("vllm-rerank-client", untemplated, rerank),
        Case("vllm-score", VllmPooling, score),
        Case("vllm-score-fixed", fixed, score, **in_words),
        Case("vllm-score-client", untemplated, score),
        Case("vllm-completions", VllmGenerate, **ids),
        Case("vllm-completions-text", VllmGenerate),
        Case("vllm-generative", generative, **ids, reports_logits=False),
        Case("vllm-generative-text", generative, reports_logits=False),
        Case("sglang-score", Sglang, **ids, reports_logits=False),
        Case(
            "sglang-rerank",
            Sglang,
            {"dialect": "sglang-rerank", "template": "server"},
            reports_logits=False,
        ),
        Case("tei", Tei),
        Case("tei-fixed", partial(Tei, templated=True), **in_words),
        Case("llamacpp", LlamaCpp, **in_words, reports_logits=False),
        Case("llamacpp-completion", LlamaCpp, completion, **ids),
        Case("ollama", Ollama),
    ]


def _gateways() -> list[Case]:
    probability: dict[str, Any] = {"reports_logits": False}
    fixed: dict[str, Any] = {"takes_instruction": False, "reports_logits": False}
    ours: dict[str, Any] = {"reads_literally": True}
    compatible, behind = {"dialect": "compatible"}, partial(partial, LiteLLM)
    return [
        Case("infinity", partial(Infinity, templated=True), takes_instruction=False),
        Case("xinference", Xinference, **probability),
        Case("localai", LocalAI, {"dialect": "localai"}, **fixed),
        Case("litellm", LiteLLM, **probability),
        Case("litellm-fixed", behind(behind="server-fixed"), **fixed),
        Case("litellm-client", behind(behind="client"), **probability),
        Case("compatible", LiteLLM, compatible, **fixed),
        Case("compatible-client", behind(behind="client"), compatible, **probability),
        Case("plain", OwnService, **ours),
        Case("plain-text", partial(OwnService, reports_logits=False), **ours, **probability),
    ]


def _hosted() -> list[Case]:
    found = []
    for name, kind, takes_instruction in (
        ("siliconflow", hosted.SiliconFlow, True),
        ("dashscope", hosted.DashScope, True),
        ("dashscope-compatible", hosted.DashScopeCompatible, True),
        ("deepinfra", hosted.DeepInfra, True),
        ("fireworks", hosted.Fireworks, False),
        ("novita", hosted.Novita, False),
        ("together", hosted.Together, False),
        ("nebius", hosted.Nebius, False),
        ("prime-intellect", hosted.PrimeIntellect, True),
        ("jina", hosted.Jina, False),
        ("cohere", hosted.Cohere, False),
        ("voyage", hosted.Voyage, False),
        ("nim", hosted.Nim, False),
        ("nvidia", hosted.Nvidia, False),
    ):
        options = {"dialect": name, "model": kind.model}
        has_logits = issubclass(kind, hosted.Nim)
        found.append(Case(name, kind, options, takes_instruction, reports_logits=has_logits))
        if name in ("fireworks", "novita", "together", "nebius"):
            bare = partial(kind, templating="none")
            found.append(Case(f"{name}-client", bare, options, reports_logits=False))
    return found


CASES = [*_engines(), *_gateways(), *_hosted()]
"""All."""

DIALECT_CASES = [case for case in CASES if not case.name.endswith(("-text", "-fixed", "-client"))]
"""Each dialect once."""
