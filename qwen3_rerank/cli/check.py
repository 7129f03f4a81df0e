"""`qwen3-rerank check`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from qwen3_rerank.cli.check_table import print_report
from qwen3_rerank.cli.common import reported
from qwen3_rerank.cli.options import MODEL_GROUPS, SERVER_GROUPS, Options, with_options
from shared_core import Reranker, RerankerOptions


@with_options(RerankerOptions, (*MODEL_GROUPS, *SERVER_GROUPS))
def check(
    options: Options,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, not as a table.")
    ] = False,
) -> None:
    """Test a model or a server for everything that is known to go wrong.

    Exit code 0: the scores can be trusted. 1: they are wrong; the report names the cause and the
    fix. 2: they could not be had, or the command was misspelt.
    """
    with reported(), Reranker(**options) as reranker:
        report = reranker.check()
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict(), ensure_ascii=False, indent=2) + "\n")
    else:
        print_report(report, Console())
    raise typer.Exit(report.exit_code)
