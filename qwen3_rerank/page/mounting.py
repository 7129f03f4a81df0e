"""The page mounted in another application; it is built at the first request.

Gradio takes seconds to import and memory to hold. A service that is never looked at by people pays
for neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import fastapi
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import Receive, Scope, Send

from qwen3_rerank.page.bodies import PageLimits
from qwen3_rerank.page.models import Models

if TYPE_CHECKING:
    from qwen3_rerank.page.serving import Page


def mount_page(
    app: fastapi.FastAPI, models: Models, path: str, limits: PageLimits
) -> fastapi.FastAPI:
    """Return the application with the page at a path, which is also there without the last /."""
    path = "/" + path.strip("/")
    page = _WhenAsked(models, path, limits)
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[Any]:
        async with before(app) as state:
            try:
                yield state
            finally:
                await page.end()

    async def with_slash(request: Request) -> RedirectResponse:
        # Relative to where it was asked for, so it is right behind any path prefix.
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{path.rpartition('/')[2]}/{query}")

    app.router.lifespan_context = lifespan
    if path != "/":
        app.add_route(path, with_slash, include_in_schema=False)
    app.mount(path, page)
    return app


class _WhenAsked:
    """An ASGI application that is the page, from the first request on."""

    def __init__(self, models: Models, path: str, limits: PageLimits) -> None:
        self._models = models
        self._path = path.rstrip("/")
        self._limits = limits
        self._lock = asyncio.Lock()
        self._page: Page | None = None
        self._ending = asyncio.Event()
        self._living: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, at a path that is relative to the page."""
        async with self._lock:
            if self._page is None:
                self._page = await self._begin()
        path, root = scope["path"], scope.get("root_path", "")
        # Some servers and proxies say a prefix that the path does not begin with.
        path = path.removeprefix(root if root and path.startswith(root) else self._path)
        await self._page.gate({**scope, "path": path}, receive, send)

    async def end(self) -> None:
        """Stop the application."""
        self._ending.set()
        if self._living is not None:
            await self._living

    async def _begin(self) -> Page:
        page = await asyncio.to_thread(self._build)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            # Begun and ended in one task, as what is inside may demand.
            try:
                async with page.lifespan:
                    begun.set_result(None)
                    await self._ending.wait()
            except BaseException as error:
                if begun.done():
                    raise
                begun.set_exception(error)

        self._living = asyncio.create_task(live())
        await begun
        return page

    def _build(self) -> Page:
        from qwen3_rerank.page.serving import Page

        return Page(self._models, self._limits)
