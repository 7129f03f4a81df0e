"""Splitting of a long document into overlapping windows of whole sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared_core.windows.meters import Count
from shared_core.windows.sentences import Span, cut_into, sentences

_COUNTED_AT_ONCE = 2048
_PARTS = 16  # what has no sentence end is cut to parts of at least a window's sixteenth


@dataclass(frozen=True, slots=True)
class _Piece:
    """An indivisible range ``start … end`` of characters, with its approximate tokens."""

    start: int
    end: int
    weight: int


def split_windows(
    document: str, n_tokens: int, count: Count, *, most_tokens: int, overlap: int
) -> list[Span]:
    """Return the spans of the windows of a long document.

    They cover every character, in order. Each has at most ``most_tokens`` tokens and holds whole
    sentences; only a sentence that is longer than a window is cut, at a blank or at least between
    characters. (A single character of more tokens than that stays in one piece.) A window begins
    with as many of the last sentences of the one before as have about ``overlap`` tokens. What is
    left at the end is shared out, since a short rest would be judged without its context.

    Args:
        document: The text.
        n_tokens: The number of its tokens.
        count: Returns the tokens that texts have as documents. The time taken is linear in the
            text if that of ``count`` is.
        most_tokens: The bound on a window, from 1.
        overlap: At most half of it.
    """
    pieces = list(_measured(document, sentences(document), count, most_tokens, overlap))
    left = sum(piece.weight for piece in pieces)
    scale = left / max(1, n_tokens)  # weights are not quite tokens; every window tells how far
    spans: list[Span] = []
    first = done = 0  # the window begins with `first`; all before `done` are in a window already
    while done < len(pieces):
        last = _filled(pieces, first, done, left, most_tokens * scale, overlap * scale)
        while first < done or last > done + 1:  # a single piece fits, that is known
            weight = sum(piece.weight for piece in pieces[first:last])
            (tokens,) = count([document[pieces[first].start : pieces[last - 1].end]])
            scale = weight / max(1, tokens)
            if tokens <= most_tokens:
                break
            first, last = _shrunk(pieces, first, last, done, weight - most_tokens * scale)
        spans.append((pieces[first].start, pieces[last - 1].end))
        left -= sum(piece.weight for piece in pieces[done:last])
        done = last
        first = _overlapping(pieces, first, done, overlap * scale)
    return spans


def _measured(
    document: str, spans: Sequence[Span], count: Count, most_tokens: int, overlap: int
) -> Iterator[_Piece]:
    """Yield spans with their tokens, in order; too long spans are split."""
    part_tokens = max(1, overlap // 2, most_tokens // _PARTS)
    for (start, end), tokens in _counted(document, spans, count):
        if tokens <= most_tokens or end - start == 1:
            yield _Piece(start, end, _weight(document, start, end, tokens))
        else:
            # So many characters have about as many tokens as a part should; half of them at most,
            # so that there is an end to it where they do not.
            step = max(1, min((end - start) // 2, (end - start) * part_tokens // tokens))
            parts = cut_into(document, (start, end), step)
            yield from _measured(document, parts, count, most_tokens, overlap)


def _counted(document: str, spans: Sequence[Span], count: Count) -> Iterator[tuple[Span, int]]:
    for place in range(0, len(spans), _COUNTED_AT_ONCE):
        some = spans[place : place + _COUNTED_AT_ONCE]
        yield from zip(some, count([document[start:end] for start, end in some]), strict=True)


def _weight(document: str, start: int, end: int, tokens: int) -> int:
    """Return the approximate tokens of a text inside another, where outer blanks cost none."""
    spared = (start > 0 and not document[start - 1].isspace()) + (document[end - 1 : end] == " ")
    return max(1, tokens - spared)


def _filled(
    pieces: Sequence[_Piece], first: int, done: int, left: int, most: float, overlap: float
) -> int:
    """Return the end of a window from ``first``, with ``done`` in it at least.

    It is as long as all windows to come would be if they shared out what is ``left``.
    """
    weight = sum(piece.weight for piece in pieces[first:done])
    n_windows = max(1, math.ceil((left + weight - overlap) / (most - overlap)))
    target = (left + weight + (n_windows - 1) * overlap) / n_windows
    last = done
    while last < len(pieces):
        full = weight >= target or weight + pieces[last].weight > most
        if full and last > done:
            break
        weight += pieces[last].weight
        last += 1
    return last


def _shrunk(
    pieces: Sequence[_Piece], first: int, last: int, done: int, excess: float
) -> tuple[int, int]:
    """Return a window with fewer tokens: shortened at its end, then by its overlap."""
    while excess > 0 and last > done + 1:
        last -= 1
        excess -= pieces[last].weight
    while excess > 0 and first < done:
        excess -= pieces[first].weight
        first += 1
    return first, last


def _overlapping(pieces: Sequence[_Piece], first: int, done: int, most: float) -> int:
    """Return the start of the next window, by the overlap before ``done``."""
    start, weight = done, 0
    while start - 1 > first and weight + pieces[start - 1].weight <= most:
        start -= 1
        weight += pieces[start].weight
    return start
