"""`qwen3-rerank rank`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated, BinaryIO

import typer
from rich.console import Console

from qwen3_rerank.cli.common import is_watched, reported
from qwen3_rerank.cli.options import ALL_GROUPS, Options, with_options, with_ranking
from qwen3_rerank.cli.rank_arguments import check_choice, documents_of, query_of, sources_of
from qwen3_rerank.cli.rank_fusion import fusion_of
from qwen3_rerank.cli.rank_input import RankJob
from qwen3_rerank.cli.rank_output import (
    no_answer_of,
    opened,
    print_table,
    result_of,
    write_line,
)
from qwen3_rerank.cli.rank_run import Ranker, Write, rank_lines
from qwen3_rerank.cli.stopping import Stopping
from qwen3_rerank.reading.document_files import Fields
from shared_core import RankedDocument, RankingOptions, Reranker, RerankerOptions

_LONG = 64
# Flags, by the panel of the help that shows them.
_input = partial(typer.Option, rich_help_panel="Input")
_retriever = partial(typer.Option, rich_help_panel="Fusion and diversity")
_output = partial(typer.Option, rich_help_panel="Output")


@with_options(RerankerOptions, ALL_GROUPS)
@with_ranking(
    *("min_probability", "max_candidates", "time_budget", "mmr", "evidence", "return_window")
)
def rank(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY] [DOCUMENT]...",
            help="The query, then the documents.",
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", "-q", help="The query; all arguments are then documents."),
    ] = None,
    query_file: Annotated[
        str | None, _input(metavar="FILE", help="A file whose content is the query.")
    ] = None,
    file: Annotated[
        list[str] | None,
        _input(
            "--file",
            "-f",
            metavar="FILE",
            help="A file of documents, or of requests if there is no query; - is standard input. "
            "Repeatable.",
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        _input(
            metavar="PATH",
            help="An image as a document, by path or URL, for a model that sees. Repeatable.",
        ),
    ] = None,
    kind: Annotated[
        str,
        _input(
            "--format",
            help="txt, jsonl, csv or xlsx; auto goes by the file's name, and takes standard input "
            "for txt with a query and for jsonl without.",
        ),
    ] = "auto",
    split: Annotated[
        str, _input(help="The documents of a txt file: lines, or paragraphs between blank lines.")
    ] = "lines",
    field: Annotated[
        str | None,
        _input(
            help="The field or column that holds the text; by default document, text, content or "
            "passage, or 文档, 文本, 内容, 正文 or 段落."
        ),
    ] = None,
    image_field: Annotated[
        str | None,
        _input(
            metavar="NAME",
            help="The field or column that holds a document's images, by path, URL or data: "
            "address.",
        ),
    ] = None,
    keep_going: Annotated[
        bool,
        _input("--keep-going", help="Skip lines that cannot be ranked, and name them."),
    ] = False,
    instruction: Annotated[
        str | None,
        typer.Option("--instruction", "-i", help="The task, in a sentence; English works best."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, help="The most documents to return.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Drop documents with a score below this.")
    ] = None,
    fusion: Annotated[
        str | None,
        _retriever(
            metavar="rrf|WEIGHT",
            help="The retriever decides, too: rrf, or its weight from 0 to 1. Its scores are the "
            "retriever_scores of a request, or --retriever-score-key; else the order counts.",
        ),
    ] = None,
    retriever_score_key: Annotated[
        str | None,
        _retriever(
            metavar="NAME",
            help="The field or column of a document with the retriever's score, larger is better.",
        ),
    ] = None,
    *,
    compress: Annotated[
        bool,
        typer.Option(
            "--compress", help="Write of each document these sentences and their neighbours alone."
        ),
    ] = False,
    out: Annotated[
        str | None,
        _output(
            "--out",
            "-o",
            metavar="FILE",
            help="Write JSON lines to this file, complete or not at all.",
        ),
    ] = None,
    as_json: Annotated[
        bool | None,
        _output(
            "--json/--table",
            help="JSON lines, or tables; by default, tables on a terminal.",
            show_default=False,
        ),
    ] = None,
    no_documents: Annotated[
        bool, _output("--no-documents", help="Write only index and score.")
    ] = False,
    ranking: Options,
    options: Options,
) -> None:
    """Order documents by how well they answer a query.

    One query: its documents are arguments, files or standard input. The output has one line per
    document, best first: {"index", "score", "document"}, and "window", the best part of a long
    document:

    \b
      qwen3-rerank rank "how hot is the sun" "The Sun is a star." "5,772 K at its surface."
      qwen3-rerank rank "how hot is the sun" --file passages.txt --top-k 3
      grep -ih sun notes/* | qwen3-rerank rank "how hot is the sun" --json > ranked.jsonl
      qwen3-rerank rank -q "refund period" -f faq.csv --field answer --threshold 0.5
      qwen3-rerank rank -q "who pays" -f contracts.jsonl --long-documents windows

    Many queries: without a query, every line is a request. The output has one line per request, its
    documents replaced by results, all other fields unchanged:

    \b
      {"query": "…", "documents": ["…", {"image": "a.png"}], "instruction": "…", "top_k": 5}
      qwen3-rerank rank --file requests.jsonl --out ranked.jsonl

    With a server, or another model:

    \b
      qwen3-rerank rank -f requests.jsonl --base-url http://localhost:8000
      qwen3-rerank rank "capital of France" "Paris" "Rome" --model tiny

    Exit code 0: everything was ranked. 1: with --keep-going, some lines were skipped, and named. 2:
    a line or an option is wrong, or there are no scores; results of earlier lines are written. 130,
    143: stopped by Ctrl-C or SIGTERM. 141: the program that reads the output has ended. Standard
    output always ends with a whole line; a file given by --out is written after 0 and 1 only.
    """
    texts = list(texts or ())
    check_choice("--format", kind, ("auto", "txt", "jsonl", "csv", "xlsx"))
    check_choice("--split", split, ("lines", "paragraphs"))
    stopping = Stopping()
    skipped = 0
    with reported(), stopping:
        query_text = query_of(texts, query, query_file)
        images = image or []
        sources = sources_of(file, query_text, [*texts, *images], kind)
        fields = Fields(field, image_field, shapes=True)
        documents = documents_of(query_text, texts, images, sources, kind, split, fields)
        shows_progress = is_watched()
        reranker = Reranker(
            instruction=instruction,
            show_progress=shows_progress and len(documents) >= _LONG,
            **options,
        )
        if retriever_score_key is not None and fusion is None:
            raise ValueError("--retriever-score-key has no effect without --fusion")
        kept = RankingOptions(
            top_k=top_k,
            score_threshold=threshold,
            fusion=fusion_of(fusion),
            compress="evidence" if compress else None,
            **ranking,
        )
        tables = out is None and (sys.stdout.isatty() if as_json is None else not as_json)
        with opened(out) as stream, reranker:
            ranker = Ranker(reranker, kept, retriever_score_key)
            write = _table_writer(not no_documents) if tables else None
            if query_text is not None:
                job = RankJob("the query", query_text, documents)
                write = write or _line_writer(stream, stopping, not no_documents, whole=False)
                write(job, ranker.rank(job))
            else:
                skipped = rank_lines(
                    ranker,
                    sources,
                    fields,
                    write or _line_writer(stream, stopping, not no_documents, whole=True),
                    keep_going=keep_going,
                    show_progress=shows_progress and not tables,
                )
    if skipped:
        raise typer.Exit(1)


def _line_writer(stream: BinaryIO, stopping: Stopping, documents: bool, *, whole: bool) -> Write:
    """Return a function that writes one line per request, or per result."""

    def write(job: RankJob, ranked: Sequence[RankedDocument]) -> None:
        results = [result_of(job, found, document=documents) for found in ranked]
        lines = [{**job.given, "results": results}] if whole else results
        for line in lines:
            write_line(stream, line | no_answer_of(ranked), stopping)

    return write


def _table_writer(documents: bool) -> Write:
    """Return a function that prints one table per request."""
    console = Console()
    return lambda job, ranked: print_table(job, ranked, console, documents=documents)
