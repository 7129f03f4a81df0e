"""What is found out when the service starts: about its model, and its own version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from qwen3_rerank.service.settings import ServiceSettings
from shared_core.errors import RerankError, ServerStatusError, UnsupportedByServerError
from shared_core.identity import device_kind
from shared_core.reranker import Reranker


def software_version() -> str:
    """Return the installed version; 0 where the package is used without being installed."""
    try:
        return version("qwen3-rerank")
    except PackageNotFoundError:
        return "0"


async def takes_instructions(reranker: Reranker) -> bool:
    """Return whether requests may have an instruction: a server behind may take none."""
    if not reranker.options.is_remote:
        return True
    try:
        await reranker.ascore("capital of France", ["Paris"], instruction="Find a city")
    except UnsupportedByServerError:
        return False
    except ServerStatusError as error:  # without one, it has just answered
        return error.status not in (400, 422, 500)
    except RerankError:
        return True
    return True


def batch_tokens_of(reranker: Reranker, settings: ServiceSettings) -> int:
    """Return the tokens of one forward: the scorer's own default, by device."""
    if settings.max_batch_tokens is not None:
        return settings.max_batch_tokens
    if reranker.options.backend == "vllm":  # which batches what it is given
        return 65536
    device = device_kind(reranker)
    return 4096 if device in ("cpu", "mps") else 16384 if device == "cuda" else 65536
