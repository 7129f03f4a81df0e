"""Routes for health, model information and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from qwen3_rerank.page import is_installed
from qwen3_rerank.service.engine import Service

SERVICE = "qwen3-rerank"
"""What the service says it is; our own client looks for it (scorers/remote/discovery.py)."""


def info_routes(service: Service) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["about"])
    settings = service.settings

    def identity() -> dict[str, Any]:
        return {
            "service": SERVICE,
            "version": service.version,
            "model": service.model,
            "max_documents": settings.max_documents,
            "takes_instruction": service.takes_instruction,
            "takes_images": service.reranker.takes_images,
            "status": service.state,
        }

    @router.get("/", include_in_schema=False)
    async def start(request: Request) -> Response:
        """The documentation, for browsers; for programs, what there is."""
        if "text/html" in request.headers.get("accept", ""):
            # Relative, so that it leads there behind a path prefix, too.
            return RedirectResponse("docs", 307)
        places = {name: f"/{name}" for name in ("docs", "openapi.json", "health", "metrics")}
        page = {"page": "/ui"} if is_installed() else {}
        return JSONResponse(identity() | places | page)

    @router.get("/health", responses={503: {"description": "Not ready."}})
    @router.get("/health/ready", responses={503: {"description": "Not ready."}})
    async def ready() -> JSONResponse:
        """The readiness of the service: 200 or 503."""
        return JSONResponse(identity(), 200 if service.state == "ready" else 503)

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """The liveness of the process."""
        return {"status": "alive"}

    @router.get("/version")
    async def version() -> dict[str, str]:
        """The version of the software."""
        return {"version": service.version, "service": SERVICE}

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model, as OpenAI's clients expect it."""
        model = {
            "id": service.model,
            "object": "model",
            "created": service.started,
            "owned_by": SERVICE,
            "root": service.model,
            "max_model_len": settings.max_length,
        }
        return {"object": "list", "data": [model]}

    @router.get("/info")
    async def info() -> dict[str, Any]:
        """The model information, as Text Embeddings Inference gives it."""
        labels = {"id2label": {"0": "yes"}, "label2id": {"yes": 0}}
        return {
            "model_id": service.model,
            "model_sha": settings.revision,
            "model_dtype": settings.dtype,
            "model_type": {"reranker": labels},
            "served_model_name": service.model,
            "max_concurrent_requests": settings.max_queue,
            "max_input_length": settings.max_length,
            "max_batch_tokens": service.batch_tokens,
            "max_client_batch_size": settings.max_documents,
            "max_batch_requests": None,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": service.version,
            "sha": None,
            "docker_label": None,
        }

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """The metrics, for Prometheus."""
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    return router
