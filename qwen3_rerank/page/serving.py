"""The page as an application, and served alone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.resources import files
from typing import Any, cast

import fastapi
import gradio as gr
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from qwen3_rerank.page.blocks import build_page
from qwen3_rerank.page.bodies import PageLimits
from qwen3_rerank.page.document import ROOT
from qwen3_rerank.page.fields import checks_of
from qwen3_rerank.page.gate import Gate
from qwen3_rerank.page.models import Models
from qwen3_rerank.page.store import Kept, Upload
from qwen3_rerank.web.connections import BoundedServer, ConnectionLimits, bounded, fitting
from qwen3_rerank.web.headers import Strict
from qwen3_rerank.web.hosts import AllowedHosts
from qwen3_rerank.web.names import name_of
from qwen3_rerank.web.origins import SameOrigin
from qwen3_rerank.web.prefix import Prefixed
from qwen3_rerank.web.repeats import OncePerMinute

_KEPT_FILE_BYTES = 64 * 2**20
_MOST_CONNECTIONS = 768
_HEAD_SECONDS = 10.0


class Page:
    """The page as an application: Gradio's, behind the gate.

    Attributes:
        gate: The ASGI application; paths are relative to the page.
        lifespan: The context to enter before the first request, and to leave after the last.
    """

    def __init__(self, models: Models, limits: PageLimits) -> None:
        uploads = Kept[Upload](_KEPT_FILE_BYTES)
        blocks = build_page(models, uploads)
        # Set by `launch` alone; without it Gradio skips its own check of paths.
        blocks.has_launched = True
        app: fastapi.FastAPI = gr.mount_gradio_app(
            fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
            blocks,
            "/",
            root_path=ROOT,
            show_error=False,
            **_look(),
        )
        self.gate = Gate(
            app,
            checks_of(blocks),
            uploads,
            limits,
            lambda: any(model.takes_images() for model in models.values()),
        )
        self.lifespan = cast(AbstractAsyncContextManager[None], app.router.lifespan_context(app))


def serve_page(
    models: Models, *, host: str, port: int, allowed_hosts: Sequence[str], root_path: str
) -> None:
    """Serve the page alone until the process is asked to stop."""
    once = logging.StreamHandler()
    once.addFilter(OncePerMinute())
    logging.basicConfig(handlers=[once])
    limits = PageLimits()
    page = Page(models, limits)
    name = name_of(host)
    names = [*allowed_hosts] if name is None or ":" in name else [name, *allowed_hosts]
    app = Starlette(
        routes=[Mount("/", page.gate)],
        # The first one is the outermost.
        middleware=[
            Middleware(Prefixed, prefix=root_path),
            Middleware(Strict),
            Middleware(AllowedHosts, names=names),
            Middleware(SameOrigin, names=names),
        ],
        lifespan=lambda _: page.lifespan,
    )
    connections = ConnectionLimits(fitting(_MOST_CONNECTIONS), _HEAD_SECONDS, limits.body_timeout)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        timeout_graceful_shutdown=3,
        **bounded(connections, lambda _: None),
    )
    _Announced(config).run()


class _Announced(BoundedServer):
    """A server that prints its address once it listens, since port 0 takes any port."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            host, port = server.sockets[0].getsockname()[:2]
            where = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"http://{where}:{port}\n")
            sys.stdout.flush()


def _look() -> dict[str, Any]:
    """Return style, fonts and settings: nothing is fetched from elsewhere or remembered."""
    fonts = ["ui-sans-serif", "system-ui", "-apple-system", "Noto Sans CJK SC", "sans-serif"]
    return {
        "theme": gr.themes.Default(
            primary_hue="indigo",
            neutral_hue="slate",
            font=[gr.themes.Font(name) for name in fonts],
            font_mono=[gr.themes.Font(name) for name in ("ui-monospace", "Consolas", "monospace")],
        ).set(  # Gradio's own is too pale to read
            body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400"
        ),
        "css": files("qwen3_rerank.page").joinpath("page.css").read_text("utf-8"),
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
    }
