"""Fields of rows of data sets, as JSON or tables have them. Every faulty row is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qwen3_rerank.reading.text import InputError, check_text


def text_of(row: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """Return the text in the first of some fields that is there.

    Raises:
        InputError: There is none, or it is no text; the message begins with ``where``.
    """
    return _found(row, names, where, (str,), "a string")


def id_of(row: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """Return the id in the first of some fields that is there, a string or a whole number.

    Raises:
        InputError: There is none, or it is blank; the message begins with ``where``.
    """
    expected = "a string or a whole number"
    found = _found(row, names, where, (str, int), expected)
    if not found.strip():
        raise InputError(f'{where}: "{names[0]}" is blank, expected {expected}')
    return found


def _found(
    row: Mapping[str, Any],
    names: Sequence[str],
    where: str,
    kinds: tuple[type, ...],
    expected: str,
) -> str:
    name = next((name for name in names if row.get(name) is not None), names[0])
    value = row.get(name)
    if not isinstance(value, kinds) or isinstance(value, bool):
        there = ", ".join(map(str, row)) or "none"
        raise InputError(f'{where}: no "{names[0]}" that is {expected} (there are: {there:.80})')
    try:
        check_text(str(value))
    except InputError as error:
        raise InputError(f"{where}: {name}: {error}") from None
    return str(value)
