"""The commands, by their names. Each is in the file named after it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from qwen3_rerank.cli.batch import batch
from qwen3_rerank.cli.check import check
from qwen3_rerank.cli.evaluate import evaluate
from qwen3_rerank.cli.quantize import quantize
from qwen3_rerank.cli.rank import rank
from qwen3_rerank.cli.serve import serve
from qwen3_rerank.cli.template import template
from qwen3_rerank.cli.ui import ui
from qwen3_rerank.cli.warm_up import warm_up

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they would show keys
    help="Rerank with Qwen3-Reranker: with a model on this machine, or with a server.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qwen3-rerank {version('qwen3-rerank')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Take the options that go before a command."""


app.command()(batch)
app.command()(check)
app.command()(evaluate)
app.command()(quantize)
app.command()(rank)
app.command()(serve)
app.command()(template)
app.command()(ui)
app.command()(warm_up)
