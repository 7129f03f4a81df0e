"""`qwen3-rerank check`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from shared_core import DEFAULT_MODEL, Reranker, RerankError
from shared_core.cli.check_table import print_report
from shared_core.cli.common import fail, headers_of, in_words


def check(
    model: Annotated[str, typer.Option(help="A hub name, a folder, or tiny.")] = DEFAULT_MODEL,
    base_url: Annotated[str | None, typer.Option(help="The address of a server.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Its key; better given by the environment.",
            envvar="QWEN3_RERANK_API_KEY",
            show_envvar=True,
            show_default=False,
        ),
    ] = None,
    dialect: Annotated[str, typer.Option(help="The server's wire format.")] = "auto",
    template: Annotated[
        str, typer.Option(help="Who writes the prompt: server, server-fixed, client or prompt.")
    ] = "auto",
    tokenizer: Annotated[
        str | None, typer.Option(help="A folder, a tokenizer.json or a hub name.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="Another header, as 'Name: value'.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, transformers, vllm or remote.")] = "auto",
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    timeout: Annotated[float, typer.Option(help="Seconds that one request may take.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Look for all that is known to go wrong with a model or a server.

    Exit code 0: the scores can be trusted. 1: they are wrong; the report names the cause and the
    fix. 2: they could not be had, or the command was misspelt.
    """
    try:
        reranker = Reranker(
            model,
            base_url=base_url,
            api_key=api_key,
            dialect=dialect,
            template=template,  # type: ignore[arg-type]  # checked there
            tokenizer=tokenizer,
            headers=headers_of(header or ()),
            backend=backend,  # type: ignore[arg-type]  # likewise
            device=device,
            dtype=dtype,  # type: ignore[arg-type]  # likewise
            timeout=timeout,
        )
        with reranker:
            report = reranker.check()
    except (RerankError, ValidationError, ValueError) as error:
        fail(in_words(error))
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict(), ensure_ascii=False, indent=2) + "\n")
    else:
        print_report(report, Console())
    raise typer.Exit(report.exit_code)
