"""The page: paste a question and some passages, and see the order change (extra ``ui``).

Importing this is free; Gradio is imported when a page is built.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from shared_core.errors import MissingDependencyError

if TYPE_CHECKING:
    import fastapi

    from qwen3_rerank.page.models import Given

__all__ = ["is_installed", "mount_page", "serve_page"]


def mount_page(
    app: fastapi.FastAPI,
    given: Given,
    path: str = "/ui",
    *,
    max_body_bytes: int = 16 * 2**20,
    body_timeout: float = 30.0,
) -> fastapi.FastAPI:
    """Return the application with the page at a path, built at the first request.

    The page checks no key, no host name and no origin: the application's middleware has to
    (docs/service.md has an example).

    Args:
        app: The application. Its lifespan runs as before, and its middleware guards the page.
        given: The reranker, or several by the names that people choose from. They are not closed
            with the application.
        path: The path of the page.
        max_body_bytes: The most bytes of one request body.
        body_timeout: Seconds that a request body may take to arrive.

    Raises:
        MissingDependencyError: Gradio is not installed.
    """
    _require()
    from qwen3_rerank.page.bodies import PageLimits
    from qwen3_rerank.page.models import models_of
    from qwen3_rerank.page.mounting import mount_page

    limits = PageLimits(max_body_bytes=max_body_bytes, body_timeout=body_timeout)
    return mount_page(app, models_of(given), path, limits)


def serve_page(
    given: Given,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    allowed_hosts: Sequence[str] = (),
    root_path: str = "",
) -> None:
    """Serve the page alone until the process is asked to stop.

    Args:
        given: The reranker, or several by the names that people choose from.
        host: The address to listen on.
        port: The port; 0 is any free one.
        allowed_hosts: More names that requests may be addressed to, besides addresses, localhost
            and ``host``.
        root_path: The path prefix under which a proxy publishes the page.

    Raises:
        MissingDependencyError: Gradio is not installed.
        ValueError: A name or the path is not valid.
    """
    _require()
    from qwen3_rerank.page.models import models_of
    from qwen3_rerank.page.serving import serve_page

    serve_page(
        models_of(given), host=host, port=port, allowed_hosts=allowed_hosts, root_path=root_path
    )


def is_installed() -> bool:
    """Return whether there is a Gradio, without importing it."""
    if "gradio" in sys.modules:  # or None, where it is kept from being imported
        return sys.modules["gradio"] is not None
    return find_spec("gradio") is not None


def _require() -> None:
    if not is_installed():
        raise MissingDependencyError("the page", "ui")
