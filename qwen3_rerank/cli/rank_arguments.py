"""Arguments of `rank`: the query, the sources to read, and the documents of one query."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from qwen3_rerank.cli.rank_input import STDIN, name_of, read_source
from qwen3_rerank.reading.document_files import Fields, GivenDocument, format_of
from qwen3_rerank.reading.text import InputError, check_text, decode


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(choices)}", param_hint=option)


def query_of(texts: list[str], query: str | None, query_file: str | None) -> str | None:
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


def sources_of(
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


def documents_of(
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
            kind=None if kind == "auto" else kind,  # type: ignore[arg-type]  # checked by check_choice
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
