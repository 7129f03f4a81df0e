"""The smallest parts of a text that can be pointed at: sentences, and lines of code and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared_core.windows.meters import estimate_tokens
from shared_core.windows.sentences import Span, cut_into, sentences

LONGEST = 128
"""The most tokens of a part, as `estimate_tokens` counts: some 380 letters of English."""

_FENCED = re.compile(r"^[ ]{0,3}(```|~~~)[^\n]*\n.*?^[ ]{0,3}\1[^\n]*(?:\n|\Z)", re.M | re.S)
_PARAGRAPH = re.compile(r"\S.*?(?:\n[^\S\n]*(?=\n)|\Z)", re.S)
_LINE = re.compile(r"[^\n]+")
# Cells between tabs, bars or bare commas; an indented line; an end or a start that code has.
_OF_CODE_OR_TABLE = re.compile(
    r"\t|\|[^|\n]*\||\S,\S[^,\n]*,\S|^ {2,}\S|[{}();:=,\[]\s*$|^\s*(?://|#include|/\*|\*/|@\w)"
)


def units(text: str) -> list[Span]:
    r"""Return the spans of a text's sentences, in order, without the blanks around them.

    Code and tables have their lines instead, with their indentation: what is fenced, and paragraphs
    of which half the lines look like it. What has more than `LONGEST` tokens is cut at a clause or
    a blank.

    >>> text = "It rains. Take a coat.\n\na\t1\nb\t2"
    >>> [text[start:end] for start, end in units(text)]
    ['It rains.', 'Take a coat.', 'a\t1', 'b\t2']
    """
    found = []
    for start, end in _parts(text):
        for piece in _short(text, (start, end)):
            stripped = _stripped(text, piece)
            if stripped is not None:
                found.append(stripped)
    return found


def _parts(text: str) -> Iterator[Span]:
    done = 0
    for fenced in _FENCED.finditer(text):
        yield from _of_paragraphs(text, done, fenced.start())
        yield from _lines(text, *fenced.span())
        done = fenced.end()
    yield from _of_paragraphs(text, done, len(text))


def _of_paragraphs(text: str, start: int, end: int) -> Iterator[Span]:
    for paragraph in _PARAGRAPH.finditer(text, start, end):
        begin, stop = paragraph.span()
        lines = list(_lines(text, begin, stop))
        marked = sum(
            _OF_CODE_OR_TABLE.search(text[first:last]) is not None for first, last in lines
        )
        if len(lines) > 1 and 2 * marked >= len(lines):
            yield from lines
        else:
            yield from (
                (begin + first, begin + last) for first, last in sentences(text[begin:stop])
            )


def _lines(text: str, start: int, end: int) -> Iterator[Span]:
    return (line.span() for line in _LINE.finditer(text, start, end))


def _short(text: str, span: Span) -> list[Span]:
    start, end = span
    if end - start <= LONGEST:  # a character is about a token at most
        return [span]
    (tokens,) = estimate_tokens([text[start:end]])
    if tokens <= LONGEST:
        return [span]
    return cut_into(text, span, max(1, (end - start) * LONGEST // tokens))


def _stripped(text: str, span: Span) -> Span | None:
    part = text[slice(*span)].rstrip()
    indent = len(part) - len(part.lstrip())
    start = span[0] + indent
    is_line = span[0] == 0 or text[span[0] - 1] == "\n"
    if is_line and "\n" not in part[:indent]:
        start = span[0]
    return (start, span[0] + len(part)) if part else None
