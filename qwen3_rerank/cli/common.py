"""What commands have in common: error messages, and the progress bars of libraries."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from shared_core import RerankError


def in_words(error: Exception) -> str:
    """Return an error without the input that caused it, which may be a key."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'options'}: {part['msg']}"
        for part in error.errors(include_input=False, include_url=False)
    )


@contextmanager
def reported() -> Iterator[None]:
    """Print an error of the caller, the model, a server or a disk, and exit with 2."""
    try:
        yield
    except (RerankError, ValueError, OSError) as error:  # a ValidationError is a ValueError
        fail(in_words(error))


def fail(message: str) -> NoReturn:
    """Print an error to standard error and exit with 2."""
    Console(stderr=True).print(f"[red]error:[/] {escape(message)}", highlight=False)
    raise typer.Exit(2)


def is_watched() -> bool:
    """Return whether somebody sees progress; where nobody does, libraries show none either."""
    if sys.stderr.isatty():
        return True
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return False
