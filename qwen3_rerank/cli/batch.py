"""`qwen3-rerank batch`."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from qwen3_rerank.cli.batch_show import BatchBar, print_plan, print_summary
from qwen3_rerank.cli.common import fail, in_words, is_watched
from qwen3_rerank.cli.options import ALL_GROUPS, Options, with_options, with_ranking
from qwen3_rerank.cli.stopping import Stopping
from shared_core import Reranker, RerankerOptions, RerankError

if TYPE_CHECKING:
    from qwen3_rerank.batch import BatchPlan

# Flags, by the panel of the help that shows them.
_input = partial(typer.Option, rich_help_panel="Input")
_output = partial(typer.Option, rich_help_panel="Output")
_workers = partial(typer.Option, rich_help_panel="Who works")
_GOES_ON = "what is done is done: the same command goes on from there"


def _column(name: str) -> Any:
    return _input(metavar="NAME", help=name)


@with_options(RerankerOptions, ALL_GROUPS)
@with_ranking("min_probability")
def batch(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... OUT",
            help="The input: files, folders, patterns or addresses of parquet or JSON lines. "
            "The last argument is the output folder.",
            show_default=False,
        ),
    ],
    query_id_column: Annotated[str, _column("The column of query ids.")] = "query_id",
    query_column: Annotated[str, _column("The column of queries.")] = "query",
    document_id_column: Annotated[
        str, _column("The column of document ids, if a row is a pair.")
    ] = "document_id",
    document_column: Annotated[
        str, _column("The column of documents, if a row is a pair.")
    ] = "document",
    documents_column: Annotated[
        str, _column("The column of lists of documents, if a row is a query with its documents.")
    ] = "documents",
    document_ids_column: Annotated[
        str, _column("The column of lists of document ids.")
    ] = "document_ids",
    image_column: Annotated[
        str | None,
        _column(
            "The column of a document's images: a path, a URL or a data: address, or a list of "
            "them. The model has to see."
        ),
    ] = None,
    query_image_column: Annotated[
        str | None, _column("The column of a query's images, likewise.")
    ] = None,
    group: Annotated[
        bool | None,
        _input(
            "--group/--no-group",
            help="Bring the rows of a query together on disk first. By default, if ranked lists "
            "need it.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str, _output(help="scores: one score per pair; ranked: one ranked list per query.")
    ] = "scores",
    kind: Annotated[
        str, _output("--format", help="The format of the output: parquet or jsonl.")
    ] = "parquet",
    top_k: Annotated[
        int | None, _output("--top-k", "-k", min=1, help="The most documents of a ranked list.")
    ] = None,
    threshold: Annotated[
        float | None,
        _output(min=0.0, max=1.0, help="Drop documents with a score below this from ranked lists."),
    ] = None,
    block_rows: Annotated[
        int | None,
        _output(
            min=1,
            help="Rows per block; a crash loses at most one block per worker. [about 4096 pairs]",
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
        typer.Option("--measure/--no-measure", help="Score a sample first, to estimate the time."),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan and the summary as JSON, one line each.")
    ] = False,
    ray: Annotated[
        str | None,
        _workers(
            "--ray",
            metavar="ADDRESS",
            help="Use a Ray cluster: auto is the one that this machine belongs to, local starts "
            "one on this machine.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _workers(
            min=1,
            help="The number of workers with --ray. [as many as the cluster has GPUs or CPUs for]",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        float,
        _workers(
            "--gpus-per-worker", min=0.0, help="GPUs of a worker; 0.5 puts two workers on one GPU."
        ),
    ] = 0.0,
    cpus: Annotated[float, _workers("--cpus-per-worker", min=0.0, help="CPUs of a worker.")] = 1.0,
    *,
    ranking: Options,
    options: Options,
) -> None:
    """Score tables of any size; an interrupted job continues where it stopped.

    A row is a pair (query_id, query, document_id, document) or a query with a list (query,
    documents); the ids may be left out. The output has scores, in the order of the rows, or ranked
    lists.

    \b
      qwen3-rerank batch pairs.parquet scored/
      qwen3-rerank batch pairs/ ranked/ --output ranked --top-k 10
      qwen3-rerank batch "day-*.jsonl" scored/ --base-url http://localhost:8000
      qwen3-rerank batch pairs.parquet scored/ --ray auto --gpus-per-worker 1

    Start it again after an interruption, and it scores what is missing. A row that cannot be scored
    goes to OUT/errors, with the reason, and does not stop the job.

    Exit code 0: all rows are scored. 1: all but those in OUT/errors. 2: it could not go on; what is
    done is done. 130, 143: stopped by Ctrl-C or SIGTERM.
    """
    if len(paths) < 2:
        raise typer.BadParameter(
            "give the input and, last, the output folder", param_hint="IN... OUT"
        )
    console = Console(stderr=True)
    is_watched()
    stopping = Stopping("" if plan_only else f"stopped; {_GOES_ON}")
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
                image_column,
                query_image_column,
            ),
            "block_rows": block_rows,
            **ranking,
            "group": "auto" if group is None else "always" if group else "never",
            "ray": None if ray is None else RayOptions(ray, workers, cpus, gpus),
            "measure": measure,
        }
        reranker = Reranker(instruction=instruction, **options)
        with stopping, reranker, BatchBar(console) as bar:

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
    except OSError as error:
        fail(f"{in_words(error)} ({_GOES_ON})")
    except (RerankError, ValueError) as error:
        fail(in_words(error))
    if as_json:
        _print(summary.to_dict())
    else:
        print_summary(summary, paths[-1], console)
    if summary.errors:
        raise typer.Exit(1)


def _print(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
