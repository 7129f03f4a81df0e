"""Error messages of the commands."""

from __future__ import annotations

from typing import NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape


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
