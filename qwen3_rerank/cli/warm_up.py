"""`qwen3-rerank warm-up`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from qwen3_rerank.cli.common import is_watched, reported
from qwen3_rerank.cli.options import MODEL_GROUPS, SERVER_GROUPS, Options, with_options
from shared_core import DEFAULT_MODEL, Reranker, RerankerOptions
from shared_core.identity import device_kind, identity


@with_options(RerankerOptions, (*MODEL_GROUPS, *SERVER_GROUPS))
def warm_up(
    model: Annotated[str, typer.Argument(help="A hub name, a folder, or tiny.")] = DEFAULT_MODEL,
    *,
    options: Options,
) -> None:
    """Download and load a model, and score a few passages: for images that are built ahead.

    \b
      qwen3-rerank warm-up Qwen/Qwen3-Reranker-0.6B --cache-dir /models
      qwen3-rerank warm-up Qwen/Qwen3-Reranker-4B --dtype bfloat16 --device cuda
      qwen3-rerank warm-up --base-url http://localhost:8000

    Exit code 0: the model is there and scores. 2: it could not be had, or does not score.
    """
    is_watched()
    with reported(), Reranker(model, **options) as reranker:
        began = time.perf_counter()
        reranker.load()
        loaded = time.perf_counter()
        reranker.warm_up()
        scored = time.perf_counter()
        found = identity(reranker) | {"device": device_kind(reranker)}
    what = {name: found.get(name) for name in ("backend", "base_url", "dtype", "device", "files")}
    known = ", ".join(f"{name} {value}" for name, value in what.items() if value)
    verb = "asked the server of" if found.get("base_url") else "loaded"
    typer.echo(f"{verb} {model} in {loaded - began:.1f} s ({known})")
    typer.echo(f"scored the first passages in {scored - loaded:.2f} s")
