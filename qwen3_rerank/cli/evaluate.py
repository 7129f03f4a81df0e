"""`qwen3-rerank evaluate`."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from qwen3_rerank.cli.common import is_watched, reported
from qwen3_rerank.cli.evaluate_keys import HERE, options_of
from qwen3_rerank.cli.evaluate_show import EvaluationBar, print_report
from qwen3_rerank.cli.options import ALL_GROUPS, Options, with_options
from qwen3_rerank.cli.stopping import Stopping
from shared_core import DEFAULT_MODEL, Reranker, RerankerOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

# Flags, by the panel of the help that shows them.
_data = partial(typer.Option, rich_help_panel="Data")
_compared = partial(typer.Option, rich_help_panel="Systems to compare")
_figures = partial(typer.Option, rich_help_panel="Figures")
DEFAULT = "default"


@with_options(RerankerOptions, ALL_GROUPS, without=("headers", "calibration"))
def evaluate(
    dataset: Annotated[
        str,
        typer.Argument(
            help="A BEIR folder (corpus.jsonl, queries.jsonl, qrels/*.tsv), a .json file in the "
            "format of SQuAD, a .csv of question, passage and label, or files of an MTEB task or "
            "of MIRACL.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="The output folder: report.html, report.json, runs/*.run (TREC), and the scores, "
            "so that an interrupted run continues.",
        ),
    ],
    run: Annotated[
        str | None,
        _data(
            "--run",
            metavar="FILE",
            help="The candidates: a TREC run file, or bm25 to retrieve them here. By default those "
            "that a data set brings, else bm25.",
            show_default=False,
        ),
    ] = None,
    top_n: Annotated[int, _data("--top-n", "-n", min=1, help="Candidates per query.")] = 100,
    split: Annotated[
        str | None,
        _data(help="The file in qrels/, by default test, or the only one; MTEB's language."),
    ] = None,
    queries: Annotated[
        int | None,
        _data(
            min=1,
            help="The number of queries, drawn with the seed; all by default.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        str | None,
        _data(metavar="FILE", help="A file with the ids of the queries to use, one per line."),
    ] = None,
    instruction: Annotated[
        list[str] | None,
        _compared(
            "--instruction",
            "-i",
            help="The task, in a sentence; repeat to compare. The word default stands for that of "
            "the model card.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        _compared(
            help=f"A hub name, a folder, or tiny; repeat to compare. [{DEFAULT_MODEL}]",
            show_default=False,
        ),
    ] = None,
    base_url: Annotated[
        list[str] | None,
        _compared(
            metavar="URL",
            help="A server; repeat to compare. local stands for the model in this process. As many "
            "models as addresses are paired in order; a single one goes with all.",
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        _figures(
            help="A measure of ir-measures; repeatable, the main one first. "
            "[nDCG@10, RR@10, R@5, Success@1]",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        float,
        _figures(
            help="The share of queries with a relevant candidate that keep one with the suggested "
            "top_k and threshold, and that are not taken for unanswered with --calibrate."
        ),
    ] = 0.95,
    judge: Annotated[
        str | None,
        _data(
            metavar="MODEL",
            help="A larger model, or a server's address, whose yes and no stand for judgements: "
            "agreement with it, and never the truth. qrels are not needed.",
            show_default=False,
        ),
    ] = None,
    evidence: Annotated[
        bool,
        _figures(
            "--evidence",
            help="Measure how often the evidence in the right documents holds the answer; SQuAD's "
            "format says where that is.",
        ),
    ] = False,
    calibrate: Annotated[
        str | None,
        _figures(
            metavar="FILE",
            help="Also fit probabilities to the scores, and whether any candidate answers, and "
            "write them to this file, for --calibration and Reranker(calibration=...).",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, _figures(help="The seed of samples, intervals and tests.")] = 0,
    at_once: Annotated[
        int,
        _figures(
            "--queries-at-once",
            min=1,
            help="Queries scored at once. More than 1 is faster with short lists; latency is then "
            "not measured.",
        ),
    ] = 1,
    api_key: Annotated[
        list[str] | None,
        _compared(
            help="The server's key; prefer the environment. With several servers, 'ADDRESS=key' "
            "for each: a key is sent to one server only.",
            envvar="QWEN3_RERANK_API_KEY",
            show_envvar=True,
            show_default=False,
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        _compared(
            help="An additional header, 'Name: value'; with several servers, 'ADDRESS=Name: value'."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON, not as tables.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Measure on your data whether reranking helps: figures before and after, with a report.

    \b
      qwen3-rerank evaluate scifact/ --out report/
      qwen3-rerank evaluate questions.json --out report/ --top-n 50 --queries 300
      qwen3-rerank evaluate scifact/ --run dense.run --out report/ \\
          --instruction default --instruction "Given a claim, find papers that support it"
      qwen3-rerank evaluate scifact/ --out report/ --model Qwen/Qwen3-Reranker-0.6B \\
          --base-url local --base-url http://localhost:8000

    Start it again after an interruption, and it scores what is missing.

    Exit code 0: the report is written. 2: a line or an option is wrong, or there are no scores;
    what is scored is kept. 130, 143: stopped by Ctrl-C or SIGTERM.
    """
    console = Console(stderr=True)
    is_watched()
    with reported():
        from qwen3_rerank.evaluation import MEASURES, read_dataset, read_unjudged
        from qwen3_rerank.evaluation import evaluate as run_evaluation
        from qwen3_rerank.evaluation.environment import typed

        data = (read_dataset if judge is None else read_unjudged)(dataset, split=split)
        if only is not None:
            data = data.only(_ids(only))
        stopping = Stopping("stopped; what is scored is kept: the same command goes on from there")
        with stopping, ExitStack() as stack, EvaluationBar(console) as bar:
            rerankers = {
                name: stack.enter_context(
                    Reranker(
                        checkpoint,
                        **options_of(options, url, base_url or [], api_key or [], header or []),
                    )
                )
                for name, checkpoint, url in _pairs(model or [DEFAULT_MODEL], base_url or [])
            }
            judging = None
            if judge is not None:
                address = judge if judge.startswith(("http://", "https://")) else None
                secrets = ([*(base_url or []), judge], api_key or [], header or [])
                judging = stack.enter_context(
                    Reranker(
                        DEFAULT_MODEL if address else judge,
                        **options_of(options, address, *(secrets if address else ([], [], []))),
                    )
                )
            report = run_evaluation(
                _named(rerankers),
                data,
                first_stage=run,
                top_n=top_n,
                instructions=_instructions(instruction or []),
                queries=queries,
                seed=seed,
                measures=tuple(measure or MEASURES),
                keep=keep,
                queries_at_once=at_once,
                judge=judging,
                evidence=evidence,
                calibrate=calibrate,
                out=out,
                command=typed(),
                on_progress=bar.show,
            )
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict() | {"timing": report.timing()}) + "\n")
    else:
        print_report(report, Path(out), Console())


def _ids(path: str) -> list[str]:
    lines = Path(path).read_text("utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _instructions(texts: Sequence[str]) -> list[str | None]:
    """Return the instructions to compare; ``None`` is the default one."""
    return [None if text == DEFAULT else text for text in texts] or [None]


def _pairs(models: Sequence[str], urls: Sequence[str]) -> list[tuple[str, str, str | None]]:
    """Return name, model and address of all that is compared."""
    if not urls:
        urls = [HERE] * len(models)
    elif len(models) == 1:
        models = [models[0]] * len(urls)
    elif len(urls) == 1:
        urls = [urls[0]] * len(models)
    elif len(urls) != len(models):
        raise typer.BadParameter(
            f"{len(models)} models and {len(urls)} addresses: expected one of either, or as many",
            param_hint="--base-url",
        )
    pairs = [
        (
            checkpoint if url == HERE else f"{checkpoint} at {url}",
            checkpoint,
            None if url == HERE else url,
        )
        for checkpoint, url in zip(models, urls, strict=True)
    ]
    if len(set(pairs)) < len(pairs):
        raise typer.BadParameter("the same model is there twice", param_hint="--model")
    return pairs


def _named(rerankers: dict[str, Reranker]) -> Reranker | dict[str, Reranker]:
    """Return a reranker that is alone as it is: it has a name of its own."""
    return rerankers if len(rerankers) > 1 else next(iter(rerankers.values()))
