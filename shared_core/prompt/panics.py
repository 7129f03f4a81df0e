"""Panics of the tokenizers library, which is written in Rust, as errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def panics_as(error: type[Exception], message: str) -> Iterator[None]:
    """Raise a panic as an error of this type; pyo3's own is no `Exception`, and passes by handlers.

    Args:
        error: The type of the error.
        message: The text before the panic's own.
    """
    try:
        yield
    except BaseException as panic:
        if type(panic).__name__ != "PanicException":
            raise
        raise error(f"{message}: {panic}") from panic
