"""What stands behind an address: which server, which version, what it serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared_core.errors import InvalidReplyError
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.urls import join

OWN_SERVICE = "qwen3-rerank"
"""What ``/health`` of this project's own service says it is."""

_VLLM_ROUTES = ("/classify", "/v1/rerank", "/score", "/v1/completions", "/generative_scoring")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of itself; ``None`` and empty is what it does not say.

    Attributes:
        server: The name of its software, as the dialects call it.
        version: Its version.
        models: The names that it serves models under.
        roots: Where their weights are from, in the same order.
        max_model_len: The most tokens of one prompt.
        max_documents: The most documents of one request.
        routes: Which of vLLM's routes it has.
    """

    server: str | None = None
    version: str | None = None
    models: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    max_model_len: int | None = None
    max_documents: int | None = None
    routes: frozenset[str] = frozenset()

    def is_at_least(self, *version: int) -> bool:
        """Whether the server's version is this or a later one; an unknown one is not."""
        numbers = re.findall(r"\d+", self.version or "")[:3]
        return bool(numbers) and tuple(map(int, numbers)) >= version


async def discover(session: HttpSession, root: str) -> Facts:
    """Ask a server what it is: a few GETs, from the most to the least telling.

    Raises:
        ServerUnreachableError, ServerStatusError: It does not answer, or only that it cannot now.
    """
    health = await _get(session, join(root, "/health"))
    if health.get("service") == OWN_SERVICE:
        return Facts(
            OWN_SERVICE,
            _text(health.get("version")),
            models=_texts([health.get("model")]),
            max_documents=_count(health.get("max_documents")),
        )
    listed = _items(await _get(session, join(root, "/v1/models")))
    owner = next((str(item["owned_by"]) for item in listed if item.get("owned_by")), "")
    models = Facts(
        models=_texts(item.get("id") for item in listed),
        roots=_texts(item.get("root") for item in listed),
        max_model_len=next(filter(None, (_count(x.get("max_model_len")) for x in listed)), None),
    )
    version = _text((await _get(session, join(root, "/version"))).get("version"))
    if owner == "vllm" or (version and not owner):
        found = await _vllm(session, root, models, version)
        if found is not None:
            return found
    return await _another(session, root, models, owner, version)


async def _vllm(
    session: HttpSession, root: str, models: Facts, version: str | None
) -> Facts | None:
    if not await session.exists(join(root, "/tokenize")):
        return None
    routes = [route for route in _VLLM_ROUTES if await session.exists(join(root, route))]
    return Facts(
        "vllm",
        version,
        models.models,
        models.roots,
        models.max_model_len,
        routes=frozenset(routes),
    )


async def _another(
    session: HttpSession, root: str, models: Facts, owner: str, version: str | None
) -> Facts:
    def facts(server: str, version: str | None, **more: Any) -> Facts:
        known = {"max_model_len": models.max_model_len} | more
        return Facts(server, version, models.models, models.roots, **known)

    for path in ("/model_info", "/get_model_info"):
        if "model_path" in (info := await _get(session, join(root, path))):
            server_info = await _get(session, join(root, "/server_info"))
            return facts("sglang", _text(server_info.get("version")))
    info = await _get(session, join(root, "/info"))
    if "model_id" in info and "model_type" in info:
        return Facts(
            "tei",
            _text(info.get("version")),
            _texts([info.get("model_id")]),
            max_model_len=_count(info.get("max_input_length")),
            max_documents=_count(info.get("max_client_batch_size")),
        )
    props = await _get(session, join(root, "/props"))
    if owner == "llamacpp" or "default_generation_settings" in props:
        return facts("llamacpp", _text(props.get("build_info")))
    served = _items(await _get(session, join(root, "/models")))
    if owner == "infinity" or any(item.get("owned_by") == "infinity" for item in served):
        return Facts("infinity", None, _texts(item.get("id") for item in served))
    cluster = await _get(session, join(root, "/v1/cluster/version"))
    if "version" in cluster:
        return facts("xinference", _text(cluster["version"]))
    readiness = await _get(session, join(root, "/health/readiness"))
    if "litellm_version" in readiness:
        return facts("litellm", _text(readiness["litellm_version"]))
    ollama = await _get(session, join(root, "/api/version"))
    if "version" in ollama:
        return facts("ollama", _text(ollama["version"]))
    return Facts(None, version, models.models, models.roots, models.max_model_len)


async def _get(session: HttpSession, url: str) -> Mapping[str, Any]:
    """Return the JSON object at an address, empty where there is none."""
    reply = await session.get(url)
    if reply is None:
        return {}
    try:
        decoded = reply.json()
    except InvalidReplyError:
        return {}
    return decoded if isinstance(decoded, Mapping) else {}


def _items(listing: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = listing.get("data")
    return [x for x in items if isinstance(x, Mapping)] if isinstance(items, list) else []


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value else None


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
