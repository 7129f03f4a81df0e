"""The ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from qwen3_rerank.page import is_installed, mount_page
from qwen3_rerank.page.models import Models, PageModel, RankRefusedError
from qwen3_rerank.service.docs_page import DOCS_POLICY, docs_page
from qwen3_rerank.service.engine import Service
from qwen3_rerank.service.error_reply import refused
from qwen3_rerank.service.failures import RefusedError
from qwen3_rerank.service.images import image_limits
from qwen3_rerank.service.info_routes import info_routes
from qwen3_rerank.service.middleware import OPEN_PATHS, Guarded, Observed, OneSpelling
from qwen3_rerank.service.ranking import rank
from qwen3_rerank.service.scoring_routes import scoring_routes
from qwen3_rerank.service.settings import ServiceSettings
from qwen3_rerank.web.headers import Strict
from qwen3_rerank.web.hosts import AllowedHosts
from qwen3_rerank.web.origins import SameOrigin
from qwen3_rerank.web.prefix import Prefixed
from shared_core.images.content import Content
from shared_core.options.calls import RankCallOptions
from shared_core.reranker import Reranker
from shared_core.results import Ranking

if TYPE_CHECKING:
    from typing_extensions import Unpack


def create_app(
    settings: ServiceSettings | None = None, *, reranker: Reranker | None = None
) -> FastAPI:
    """Return the application; any ASGI server can run it. ``app.state.service`` is what it uses.

    Args:
        settings: The settings of the service; ``None`` is the defaults.
        reranker: A reranker to serve, which stays open when the application ends; ``None`` makes
            one of the settings.
    """
    settings = ServiceSettings() if settings is None else settings
    service = Service(settings, reranker)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="qwen3-rerank",
        version=service.version,
        description="Documents in order of relevance, by Qwen3-Reranker.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.service = service
    app.include_router(scoring_routes(service))
    app.include_router(info_routes(service))
    app.add_exception_handler(HTTPException, _not_found)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = docs_page(app.openapi(), needs_key=bool(service.keys), has_page=is_installed())
        return HTMLResponse(page, headers={"Content-Security-Policy": DOCS_POLICY})

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> JSONResponse:
        prefix = request.scope["state"]["prefix"]
        servers = {"servers": [{"url": prefix}]} if prefix else {}
        return JSONResponse(app.openapi() | servers)

    paths = {getattr(route, "path", "") for route in app.routes}
    paths.update(app.openapi()["paths"])
    # The last one added is the outermost: what CORS answers by itself is observed too.
    app.add_middleware(SameOrigin, origins=settings.cors_origins, names=settings.host_names)
    app.add_middleware(Guarded, keys=service.keys)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(AllowedHosts, names=settings.host_names, open_paths=OPEN_PATHS)
    app.add_middleware(Strict)
    app.add_middleware(Observed, service=service, paths=paths)
    app.add_middleware(OneSpelling, paths=paths)
    proxies = list(settings.forwarded_allow_ips)
    if proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    app.add_middleware(Prefixed, prefix=settings.root_path, proxies=proxies, paths={*paths, "/ui"})
    if not is_installed():
        return app
    return mount_page(
        app,
        _ranks(service),
        max_body_bytes=settings.max_body_bytes,
        body_timeout=settings.body_timeout,
    )


def _ranks(service: Service) -> Models:
    """Return the model for the page: through the queue, and within the limits of all requests."""

    async def ranking(
        query: str | Content, documents: Sequence[str | Content], **options: Unpack[RankCallOptions]
    ) -> Ranking:
        seconds = service.settings.request_timeout
        try:
            return await asyncio.wait_for(rank(service, query, documents, options), seconds)
        except asyncio.TimeoutError:
            raise RankRefusedError(504, f"no scores within {seconds:g} s") from None
        except RefusedError as refusal:
            raise RankRefusedError(refusal.status, refusal.message) from refusal

    model = PageModel(
        ranking,
        # While it loads, nobody knows.
        lambda: service.state != "loading" and service.reranker.takes_images,
        service.settings.max_images,
        replace(image_limits(service.settings), addresses="none"),
    )
    return {service.reranker.options.model: model}


async def _not_found(request: Request, error: Exception) -> Response:
    """Answer 404 and 405 in the form of all other errors."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for it
    headers = dict(error.headers or {})
    message = f"{error.detail}: {request.method} {request.url.path[:200]}"
    return refused(request, RefusedError(error.status_code, message, headers=headers))
