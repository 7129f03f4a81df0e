"""Commands, one function each; what they do is elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from shared_core import DEFAULT_MODEL, Reranker, RerankError
from shared_core.cli.check_table import print_report

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they would show keys
    help="Rerank with Qwen3-Reranker: by a model here, or by any server.",
)

TEMPLATE = "qwen3_reranker.jinja"


@app.callback()
def _commands() -> None:
    """Keep `check` and `template` commands, however many there are."""


@app.command()
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
            headers=_headers(header or ()),
            backend=backend,  # type: ignore[arg-type]  # likewise
            device=device,
            dtype=dtype,  # type: ignore[arg-type]  # likewise
            timeout=timeout,
        )
        with reranker:
            report = reranker.check()
    except (RerankError, ValidationError, ValueError) as error:
        _fail(_in_words(error))
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict(), ensure_ascii=False, indent=2) + "\n")
    else:
        print_report(report, Console())
    raise typer.Exit(report.exit_code)


@app.command()
def template(
    path: Annotated[bool, typer.Option("--path", help="Print the path of its file.")] = False,
) -> None:
    """Print the chat template for servers that write the prompt, such as vLLM and SGLang.

    Its suffix is exact to the byte: vllm serve … --chat-template "$(qwen3-rerank template --path)"
    """
    with as_file(files("shared_core") / "templates" / TEMPLATE) as file:
        sys.stdout.write(f"{file}\n" if path else Path(file).read_text("utf-8"))


def _headers(given: Sequence[str]) -> dict[str, str]:
    headers = {}
    for header in given:
        name, colon, value = header.partition(":")
        if not colon:
            raise typer.BadParameter("expected 'Name: value'", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


def _in_words(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'options'}: {part['msg']}"
        for part in error.errors(include_input=False, include_url=False)
    )


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]error:[/] {escape(message)}", highlight=False)
    raise typer.Exit(2)
