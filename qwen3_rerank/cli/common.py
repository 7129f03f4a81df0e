"""What several commands need: headers from the command line, errors in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from qwen3_rerank.cli.model_options import LongDocumentOptions, ModelOptions, ServerOptions
from shared_core import Reranker


def headers_of(given: Sequence[str]) -> dict[str, str]:
    """Return headers given as "Name: value"."""
    found = {}
    for header in given:
        name, colon, value = header.partition(":")
        if not colon:
            raise typer.BadParameter("expected 'Name: value'", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def reranker_of(
    *groups: ModelOptions | ServerOptions | LongDocumentOptions, **others: Any
) -> Reranker:
    """Return a reranker with the options of a command line, which `Reranker` checks.

    Args:
        *groups: Options that commands share.
        **others: More of them, and those that go before what is in the groups.

    Raises:
        ValidationError, ConfigurationError: One of them is wrong.
    """
    options: dict[str, Any] = {}
    for group in groups:
        options |= asdict(group)
    options |= others
    return Reranker(headers=headers_of(options.pop("header") or ()), **options)


def in_words(error: Exception) -> str:
    """Return an error without the input that caused it, which may be a key."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'options'}: {part['msg']}"
        for part in error.errors(include_input=False, include_url=False)
    )


def fail(message: str) -> NoReturn:
    """Print an error to standard error and exit with 2."""
    Console(stderr=True).print(f"[red]error:[/] {escape(message)}", highlight=False)
    raise typer.Exit(2)
