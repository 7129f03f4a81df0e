"""`qwen3-rerank ui`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Annotated

import typer

from qwen3_rerank.cli.common import reported
from qwen3_rerank.cli.options import MODEL_GROUPS, SERVER_GROUPS, Options, with_options
from qwen3_rerank.page import serve_page
from shared_core import DEFAULT_MODEL, Reranker, RerankerOptions

_NAMES_VARIABLE = "QWEN3_RERANK_ALLOWED_HOSTS"


@with_options(RerankerOptions, (*MODEL_GROUPS, *SERVER_GROUPS), without=("instruction",))
def ui(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A hub name, a folder, or tiny; repeat to offer several.",
            show_default=DEFAULT_MODEL,
            rich_help_panel="Model",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen on; 127.0.0.1 can only be reached from this machine."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free port.")
    ] = 7860,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Another host name to answer to, for example behind a proxy. Repeatable, or in "
            f"{_NAMES_VARIABLE}, separated by commas.",
            show_default="--host, localhost",
        ),
    ] = None,
    root_path: Annotated[
        str, typer.Option(help="The path prefix under which a proxy publishes the page.")
    ] = "",
    *,
    options: Options,
) -> None:
    """Open a page to try the reranker: paste a question and passages, and see the order change.

    Its address is printed once it listens; Ctrl-C stops it. It asks for no password: with --host
    0.0.0.0 everybody who reaches this machine can use it. The service has the same page at /ui,
    behind its keys.

    \b
      qwen3-rerank ui --model tiny
      qwen3-rerank ui --model Qwen/Qwen3-Reranker-0.6B --model Qwen/Qwen3-Reranker-4B
      qwen3-rerank ui --base-url http://localhost:8000

    Exit code 0: it was stopped by Ctrl-C (143: by SIGTERM). 2: it could not start.
    """
    try:
        with reported(), ExitStack() as stack:
            rerankers = [
                stack.enter_context(Reranker(name, cache_size=10_000, **options))
                for name in dict.fromkeys(model or [DEFAULT_MODEL])
            ]
            for reranker in rerankers:
                # What is wrong with a model or the server is said here, and nobody waits later.
                reranker.score("Is it there?", ["It is."])
            models = {reranker.options.model: reranker for reranker in rerankers}
            serve_page(
                models,
                host=host,
                port=port,
                allowed_hosts=allowed_host or _names_from_environment(),
                root_path=root_path,
            )
    except KeyboardInterrupt:
        return
    except SystemExit:  # of uvicorn, which has said why
        raise typer.Exit(2) from None


def _names_from_environment() -> list[str]:
    return [name for name in os.environ.get(_NAMES_VARIABLE, "").split(",") if name.strip()]
