"""Discovery of a server: its software, its version and its models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared_core.errors import InvalidReplyError, ServerStatusError
from shared_core.scorers.remote.failures import RETRIED_STATUSES, shortened
from shared_core.scorers.remote.http import HttpSession
from shared_core.scorers.remote.urls import join

OWN_SERVICE = "qwen3-rerank"
"""What ``/health`` of this project's own service says it is."""

_OWNERS = ("vllm", "sglang", "llamacpp", "infinity")  # what ``owned_by`` in /v1/models is
_VLLM_ROUTES = ("/classify", "/v1/rerank", "/score", "/v1/completions", "/generative_scoring")


@dataclass(frozen=True, slots=True)
class Facts:
    """A server's statements about itself; ``None`` and empty mean that there is none.

    Attributes:
        server: The name of its software, as the dialects call it.
        version: The version of its software.
        models: The names that it serves models under.
        roots: The sources of their weights, in the same order.
        max_model_len: The most tokens of one prompt.
        max_documents: The most documents of one request.
        routes: Which of vLLM's routes it has.
        prefix: The path before its routes.
        takes_instruction: Whether it does, as far as it says.
        takes_images: Whether it says that it does.
        refusal: The server's error about a missing or wrong key.
    """

    server: str | None = None
    version: str | None = None
    models: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    max_model_len: int | None = None
    max_documents: int | None = None
    routes: frozenset[str] = frozenset()
    prefix: str = ""
    takes_instruction: bool = True
    takes_images: bool = False
    refusal: ServerStatusError | None = None

    def is_at_least(self, *version: int) -> bool:
        """Return whether the server's version is at least this one; an unknown version is not."""
        numbers = re.findall(r"\d+", self.version or "")[:3]
        return bool(numbers) and tuple(map(int, numbers)) >= version


class _Asker:
    """Requests a server's information pages, and remembers a refusal."""

    def __init__(self, session: HttpSession, root: str, *, is_named: bool) -> None:
        self._session = session
        self._root = root
        self._is_named = is_named
        self.refusal: ServerStatusError | None = None

    async def page(self, path: str) -> Mapping[str, Any]:
        """Return the JSON object at a path, empty where there is none."""
        try:
            decoded = (await self._session.get(join(self._root, path))).json()
        except InvalidReplyError:
            return {}
        except ServerStatusError as error:
            if error.status in RETRIED_STATUSES and not self._is_named:
                raise
            if error.status in (401, 403):
                self.refusal = self.refusal or error
            return {}
        return decoded if isinstance(decoded, Mapping) else {}

    async def has_route(self, path: str) -> bool:
        """Return whether a path accepts POST: a GET to it gives status 405."""
        try:
            await self._session.get(join(self._root, path))
        except ServerStatusError as error:
            if error.status in RETRIED_STATUSES and not self._is_named:
                raise
            return error.status in (401, 403, 405)
        return False


async def discover(session: HttpSession, root: str, *, is_named: bool = False) -> Facts:
    """Return a server's facts, by a few GETs, the most informative first.

    Args:
        session: The way to it.
        root: The address of the server.
        is_named: Whether the dialect is known, so that it is no error if a page cannot be had.

    Raises:
        ServerUnreachableError, ServerStatusError: The server does not answer, or is unavailable.
    """
    ask = _Asker(session, root, is_named=is_named)
    listed = _items(await ask.page("/v1/models"))
    owner = next((str(item["owned_by"]) for item in listed if item.get("owned_by")), "")
    models = Facts(
        models=_texts(item.get("id") for item in listed),
        roots=_texts(item.get("root") for item in listed),
        max_model_len=next(filter(None, (_count(x.get("max_model_len")) for x in listed)), None),
    )
    if owner not in _OWNERS:
        # First, since LiteLLM calls every model that it knows when it is asked for its /health.
        readiness = await ask.page("/health/readiness")
        if "status" in readiness and ("db" in readiness or "litellm_version" in readiness):
            if "litellm_version" not in readiness:  # newer ones tell it to those with a key
                readiness = await ask.page("/health/readiness/details")
            version = _text(readiness.get("litellm_version"))
            return replace(models, server="litellm", version=version)
        health = await ask.page("/health")
        if health.get("service") == OWN_SERVICE:
            return Facts(
                OWN_SERVICE,
                _text(health.get("version")),
                models=_texts([health.get("model")]),
                max_documents=_count(health.get("max_documents")),
                takes_instruction=health.get("takes_instruction") is not False,
                takes_images=health.get("takes_images") is True,
            )
    version = _text((await ask.page("/version")).get("version"))
    if owner == "vllm" or (version and owner not in _OWNERS):
        found = await _vllm(ask, replace(models, version=version))
        if found is not None:
            return found
    return await _another(ask, replace(models, version=version), owner)


async def _vllm(ask: _Asker, models: Facts) -> Facts | None:
    if not await ask.has_route("/tokenize"):
        return None
    routes = [route for route in _VLLM_ROUTES if await ask.has_route(route)]
    return replace(models, server="vllm", routes=frozenset(routes))


async def _another(ask: _Asker, models: Facts, owner: str) -> Facts:
    for path in ("/model_info", "/get_model_info"):
        if "model_path" in await ask.page(path):
            info = await ask.page("/server_info")
            return replace(models, server="sglang", version=_text(info.get("version")))
    info = await ask.page("/info")
    if "model_id" in info and "model_type" in info:
        return Facts(
            "tei",
            _text(info.get("version")),
            _texts([info.get("model_id")]),
            max_model_len=_count(info.get("max_input_length")),
            max_documents=_count(info.get("max_client_batch_size")),
        )
    props = await ask.page("/props")
    if owner == "llamacpp" or "default_generation_settings" in props:
        settings = props.get("default_generation_settings")
        context = _count(settings.get("n_ctx")) if isinstance(settings, Mapping) else None
        return replace(
            models,
            server="llamacpp",
            version=_text(props.get("build_info")),
            # It refuses a prompt that fills its context.
            max_model_len=context - 1 if context is not None else None,
        )
    served = _items(await ask.page("/models"))
    if any(item.get("owned_by") == "infinity" for item in served):
        return Facts("infinity", models=_texts(item.get("id") for item in served))
    if owner == "infinity":
        return Facts("infinity", models=models.models, prefix="/v1")
    if models.version is None:  # these two have theirs elsewhere
        if isinstance((await ask.page("/v1/cluster/auth")).get("auth"), bool):
            version = _text((await ask.page("/v1/cluster/version")).get("version"))
            return replace(models, server="xinference", version=version)
        for server, path in (("xinference", "/v1/cluster/version"), ("ollama", "/api/version")):
            version = _text((await ask.page(path)).get("version"))
            if version is not None:
                return replace(models, server=server, version=version)
    return replace(models, refusal=ask.refusal)


def _items(listing: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = listing.get("data")
    return [x for x in items if isinstance(x, Mapping)] if isinstance(items, list) else []


def _text(value: Any) -> str | None:
    return shortened(value, 200) if isinstance(value, str) and value else None


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
