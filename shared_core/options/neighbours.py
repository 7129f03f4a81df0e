"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the nearest known name as a question, or nothing if none is near.

    Args:
        given: The name that is not known.
        known: The names that exist.
        cutoff: The least similarity of the name, from 0 to 1; see `difflib.get_close_matches`.

    >>> did_you_mean("topk", ["top_k", "min_docs"])
    ' Did you mean top_k?'
    >>> did_you_mean("colour", ["top_k", "min_docs"])
    ''
    """
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(given.lower(), by_lower, n=1, cutoff=cutoff)
    return f" Did you mean {by_lower[near[0]]}?" if near else ""
