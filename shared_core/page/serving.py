"""The page as an application, and served alone."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Any

import fastapi
import gradio as gr
import uvicorn

from shared_core.page.blocks import build_page
from shared_core.page.given import MOST_CHARACTERS
from shared_core.page.models import Models

# A character of UTF-8 takes four bytes at most.
_MOST_FILE_BYTES = 4 * MOST_CHARACTERS


def page_app(models: Models, path: str) -> fastapi.FastAPI:
    """Return an application with nothing but the page, at a path."""
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    mounted: fastapi.FastAPI = gr.mount_gradio_app(
        app, build_page(models), path, max_file_size=_MOST_FILE_BYTES, **_look()
    )
    return mounted


def serve_page(models: Models, *, host: str, port: int) -> None:
    """Serve the page alone until the process is asked to stop."""
    config = uvicorn.Config(
        page_app(models, "/"),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=3,
    )
    _Announced(config).run()


class _Announced(uvicorn.Server):
    """Says where it is once it listens: with port 0 nobody else could."""

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
        "css": files("shared_core.page").joinpath("page.css").read_text("utf-8"),
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
    }
