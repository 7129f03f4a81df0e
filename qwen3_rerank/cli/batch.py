"""`qwen3-rerank batch`."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from qwen3_rerank.cli.batch_show import BatchBar, print_plan, print_summary
from qwen3_rerank.cli.common import fail, in_words
from qwen3_rerank.cli.options import ALL_GROUPS, Options, with_options
from qwen3_rerank.cli.rank_output import Stopped, Stopping
from shared_core import Reranker, RerankerOptions, RerankError

if TYPE_CHECKING:
    from qwen3_rerank.batch import BatchPlan

# Flags, by the panel of the help that shows them.
_input = partial(typer.Option, rich_help_panel="What is read")
_output = partial(typer.Option, rich_help_panel="What is written")
_workers = partial(typer.Option, rich_help_panel="Who works")
_GOES_ON = "what is done is done: the same command goes on from there"


def _column(name: str) -> Any:
    return _input(metavar="NAME", help=name)


@with_options(RerankerOptions, ALL_GROUPS)
def batch(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... OUT",
            help="Files, folders, patterns or addresses of parquet or JSON lines; last, the folder "
            "for all that is written.",
            show_default=False,
        ),
    ],
    query_id_column: Annotated[str, _column("Names a query.")] = "query_id",
    query_column: Annotated[str, _column("Its text.")] = "query",
    document_id_column: Annotated[str, _column("Names a document.")] = "document_id",
    document_column: Annotated[str, _column("Its text: a row is a pair.")] = "document",
    documents_column: Annotated[
        str, _column("A list of texts: a row is a query with its documents.")
    ] = "documents",
    document_ids_column: Annotated[str, _column("A list of their ids.")] = "document_ids",
    group: Annotated[
        bool | None,
        _input(
            "--group/--no-group",
            help="Bring the rows of a query together on disk first; by default where ranked lists "
            "need it.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str, _output(help="scores, one for every pair, or ranked, a list for every query.")
    ] = "scores",
    kind: Annotated[str, _output("--format", help="parquet or jsonl.")] = "parquet",
    top_k: Annotated[int | None, _output("--top-k", "-k", min=1, help="Of a ranked list.")] = None,
    threshold: Annotated[
        float | None,
        _output(min=0.0, max=1.0, help="Drop documents of ranked lists with a score below this."),
    ] = None,
    block_rows: Annotated[
        int | None,
        _output(
            min=1,
            help="Rows of a block, which is what a crash loses per worker. [about 4096 pairs]",
            show_default=False,
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option("--instruction", "-i", help="The task, in a sentence; English works best."),
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Print the plan, and write nothing.")
    ] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure", help="Score a sample first, to estimate the time it takes."
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print plan and summary as JSON, a line each.")
    ] = False,
    ray: Annotated[
        str | None,
        _workers(
            "--ray",
            metavar="ADDRESS",
            help="Work on a Ray cluster: auto is the one this machine belongs to, local begins "
            "one here.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _workers(
            min=1,
            help="How many, with --ray. [as many as the cluster has GPUs or CPUs for]",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        float, _workers("--gpus-per-worker", min=0.0, help="0.5 puts two on a GPU.")
    ] = 0.0,
    cpus: Annotated[float, _workers("--cpus-per-worker", min=0.0)] = 1.0,
    *,
    options: Options,
) -> None:
    """Score tables of any size, and go on where it stopped.

    A row is a pair (query_id, query, document_id, document) or a query with a list (query,
    documents); the ids may be left out. Out come scores, in the order of the rows, or ranked lists.

    \b
      qwen3-rerank batch pairs.parquet scored/
      qwen3-rerank batch pairs/ ranked/ --output ranked --top-k 10
      qwen3-rerank batch "day-*.jsonl" scored/ --base-url http://localhost:8000
      qwen3-rerank batch pairs.parquet scored/ --ray auto --gpus-per-worker 1

    Started again after it was stopped or killed, it does what is missing. A row that cannot be
    scored goes to OUT/errors, with the reason, and stops nothing.

    Exit code 0: all rows are scored. 1: all but those in OUT/errors. 2: it could not go on; what is
    done is done. 130, 143: stopped by Ctrl-C or SIGTERM.
    """
    if len(paths) < 2:
        raise typer.BadParameter("give what is read and, last, a folder", param_hint="IN... OUT")
    console = Console(stderr=True)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        from qwen3_rerank.batch import Columns, RayOptions, plan_batch, run_batch

        job: dict[str, Any] = {
            "output": output,
            "format": kind,
            "top_k": top_k,
            "score_threshold": threshold,
            "columns": Columns(
                query_id_column,
                query_column,
                document_id_column,
                document_column,
                documents_column,
                document_ids_column,
            ),
            "block_rows": block_rows,
            "group": "auto" if group is None else "always" if group else "never",
            "ray": None if ray is None else RayOptions(ray, workers, cpus, gpus),
            "measure": measure,
        }
        reranker = Reranker(instruction=instruction, **options)
        with Stopping(), reranker, BatchBar(console) as bar:

            def begin(plan: BatchPlan) -> None:
                if as_json:
                    _print(plan.to_dict())
                else:
                    print_plan(plan, console)
                bar.begin(plan)

            if plan_only:
                begin(plan_batch(paths[:-1], paths[-1], reranker=reranker, **job))
                return
            summary = run_batch(
                paths[:-1],
                paths[-1],
                reranker=reranker,
                **job,
                on_plan=begin,
                on_progress=bar.show,
            )
    except Stopped as stopped:
        if not plan_only:
            console.print(f"stopped; {_GOES_ON}", highlight=False, soft_wrap=True)
        raise typer.Exit(128 + stopped.args[0]) from None
    except (RerankError, ValidationError, ValueError) as error:
        fail(in_words(error))
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        fail(f"{said} ({_GOES_ON})")
    if as_json:
        _print(summary.to_dict())
    else:
        print_summary(summary, paths[-1], console)
    if summary.errors:
        raise typer.Exit(1)


def _print(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
