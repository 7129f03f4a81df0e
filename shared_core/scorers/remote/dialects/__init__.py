"""All dialects by name."""

from __future__ import annotations

from shared_core.scorers.remote.dialects import hosted, servers, sglang, vllm
from shared_core.scorers.remote.dialects.base import Dialect

DIALECTS: dict[str, type[Dialect]] = {
    dialect.name: dialect
    for dialect in (
        vllm.VllmClassify,
        vllm.VllmRerank,
        vllm.VllmScore,
        vllm.VllmCompletions,
        vllm.VllmGenerative,
        sglang.SglangScore,
        sglang.SglangRerank,
        servers.Compatible,
        servers.Plain,
        servers.Tei,
        servers.LlamaCpp,
        servers.LlamaCppCompletion,
        servers.Infinity,
        servers.Xinference,
        servers.LocalAI,
        servers.LiteLLM,
        servers.Ollama,
        hosted.SiliconFlow,
        hosted.DashScope,
        hosted.DashScopeCompatible,
        hosted.DeepInfra,
        hosted.Fireworks,
        hosted.Novita,
        hosted.Together,
        hosted.Nebius,
        hosted.PrimeIntellect,
        hosted.Jina,
        hosted.Cohere,
        hosted.Voyage,
        hosted.Nim,
        hosted.Nvidia,
    )
}
"""The wire formats, one class each."""

_HOSTED: dict[str, type[Dialect]] = {
    str(dialect.base_url).removeprefix("https://"): dialect
    for dialect in DIALECTS.values()
    if dialect.base_url is not None and dialect is not hosted.DashScopeCompatible
} | {
    "api.siliconflow.com": hosted.SiliconFlow,
    "dashscope-intl.aliyuncs.com": hosted.DashScope,
}


def vendor_at(host: str | None) -> type[Dialect] | None:
    """Return the dialect of the vendor that owns a host, ``None`` if it is no known vendor's.

    >>> vendor_at("api.jina.ai").name, vendor_at("ws-1.ap-southeast-1.maas.aliyuncs.com").name
    ('jina', 'dashscope')
    >>> vendor_at("api.jina.ai.example.com")
    """
    if host is not None and host.endswith(".maas.aliyuncs.com"):
        return hosted.DashScope  # a workspace's own host
    return _HOSTED.get(host or "")
