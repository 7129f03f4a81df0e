"""`qwen3-rerank rank`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from pydantic import ValidationError
from rich.console import Console

from qwen3_rerank.cli.common import fail, in_words
from qwen3_rerank.cli.options import ALL_GROUPS, Options, with_options
from qwen3_rerank.cli.rank_fusion import fusion_of
from qwen3_rerank.cli.rank_input import STDIN, RankJob, name_of, read_source
from qwen3_rerank.cli.rank_output import (
    Stopped,
    Stopping,
    discard_output,
    no_answer_of,
    opened,
    print_table,
    result_of,
    write_line,
)
from qwen3_rerank.cli.rank_run import Write, one_ranking, rank_lines
from qwen3_rerank.reading.document_files import Fields, GivenDocument, format_of
from qwen3_rerank.reading.text import InputError, check_text, decode
from shared_core import RankedDocument, RankingOptions, Reranker, RerankerOptions, RerankError

_LONG = 64
# Flags, by the panel of the help that shows them.
_input = partial(typer.Option, rich_help_panel="Input")
_retriever = partial(typer.Option, rich_help_panel="Fusion and diversity")
_output = partial(typer.Option, rich_help_panel="Output")


@with_options(RerankerOptions, ALL_GROUPS)
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
    min_probability: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Drop documents with a lower probability; takes --calibration.",
        ),
    ] = None,
    max_candidates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Score the first so many documents alone; the others follow unscored."
        ),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Score for so many seconds, for each query, loading apart; what was not reached "
            "follows unscored.",
        ),
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
    mmr: Annotated[
        float | None,
        _retriever(
            min=0.0,
            max=1.0,
            help="Prefer documents unlike those before them: the weight of relevance, such as 0.7.",
        ),
    ] = None,
    *,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence", help="Find the sentences of each document that answer the query."
        ),
    ] = False,
    compress: Annotated[
        bool,
        typer.Option(
            "--compress", help="Write of each document these sentences and their neighbours alone."
        ),
    ] = False,
    return_window: Annotated[
        bool,
        typer.Option(
            "--return-window",
            help="Write only the best window of a long document.",
            rich_help_panel="Long documents",
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
    _one_of("--format", kind, ("auto", "txt", "jsonl", "csv", "xlsx"))
    _one_of("--split", split, ("lines", "paragraphs"))
    stopping = Stopping()
    skipped = 0
    try:
        with stopping:
            query_text = _query(texts, query, query_file)
            images = image or []
            sources = _sources(file, query_text, [*texts, *images], kind)
            fields = Fields(field, image_field, shapes=True)
            documents = _documents(query_text, texts, images, sources, kind, split, fields)
            shows_progress = sys.stderr.isatty()
            if not shows_progress:  # nor the bars of the libraries that load a model
                os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
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
                min_probability=min_probability,
                return_window=return_window,
                max_candidates=max_candidates,
                time_budget=time_budget,
                fusion=fusion_of(fusion),
                mmr=mmr,
                evidence=evidence,
                compress="evidence" if compress else None,
            )
            tables = out is None and (sys.stdout.isatty() if as_json is None else not as_json)
            with opened(out) as stream, reranker:
                write = _table_writer(not no_documents) if tables else None
                if query_text is not None:
                    job = RankJob("the query", query_text, documents)
                    write = write or _line_writer(stream, stopping, not no_documents, whole=False)
                    write(job, one_ranking(reranker, job, kept, retriever_score_key))
                else:
                    skipped = rank_lines(
                        reranker,
                        sources,
                        fields,
                        write or _line_writer(stream, stopping, not no_documents, whole=True),
                        kept=kept,
                        score_key=retriever_score_key,
                        keep_going=keep_going,
                        show_progress=shows_progress and not tables,
                    )
    except Stopped as stopped:
        raise typer.Exit(128 + stopped.args[0]) from None
    except BrokenPipeError:
        discard_output()
        raise typer.Exit(141) from None
    except (RerankError, ValidationError, ValueError) as error:
        fail(in_words(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if skipped:
        raise typer.Exit(1)


def _one_of(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}", param_hint=option)


def _query(texts: list[str], query: str | None, query_file: str | None) -> str | None:
    """Return the query, if any; if it is an argument, remove it from ``texts``."""
    if query is not None and query_file is not None:
        raise typer.BadParameter("give --query or --query-file", param_hint="--query-file")
    if query_file is not None:
        query = decode(Path(query_file).read_bytes(), query_file).strip()
    elif query is None and texts:
        query = texts.pop(0)
    if query is not None:
        _check_argument("the query", query)
        if not query.strip():
            raise InputError("the query is blank: there is nothing to judge against")
    return query


def _sources(
    file: list[str] | None, query: str | None, texts: Sequence[str], kind: str
) -> list[str]:
    """Return the sources to read: the files, or standard input if nothing else is given."""
    sources = list(file or ())
    if not sources and not texts:
        if sys.stdin.isatty():
            raise InputError('nothing to rank. Try: qwen3-rerank rank "a query" "a document"')
        sources = [STDIN]
    if sources.count(STDIN) > 1:
        raise InputError("standard input can be read once")
    for source in sources if query is None else ():
        told = kind if kind != "auto" else "jsonl" if source == STDIN else format_of(source)
        if told != "jsonl":
            raise InputError(
                f"{name_of(source)} holds documents, not requests: give a query, too (or, if it "
                "holds requests, --format jsonl)"
            )
    return sources


def _documents(
    query: str | None,
    texts: Sequence[str],
    images: Sequence[str],
    sources: Sequence[str],
    kind: str,
    split: str,
    fields: Fields,
) -> list[GivenDocument]:
    """Return the documents of the one query."""
    if query is None:
        if images:
            raise ValueError("--image is a document: give a query, too")
        return []
    for place, text in enumerate(texts, 1):
        _check_argument(f"document {place} of the arguments", text)
    documents = [GivenDocument(text, text) for text in texts]
    for source in sources:
        documents += read_source(
            source,
            kind=None if kind == "auto" else kind,  # type: ignore[arg-type]  # checked by _one_of
            split=split,  # type: ignore[arg-type]  # likewise
            fields=fields,
        )
    documents += [GivenDocument("", source, [source]) for source in images]
    if not documents:
        Console(stderr=True).print("[yellow]no documents:[/] there is nothing to rank")
    return documents


def _check_argument(what: str, text: str) -> None:
    try:
        check_text(text)
    except ValueError:
        raise InputError(f"{what} is not UTF-8") from None


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
