"""Mapping of the best window from the judged text to the document's content."""

from __future__ import annotations

from typing import NamedTuple

from shared_core.windows.sentences import Span


class ShownWindow(NamedTuple):
    """The characters ``start … end`` of a text, and their text."""

    start: int
    end: int
    text: str


def shown_window(content: str, judged: str, window: Span) -> ShownWindow | None:
    """Return the part of a document's content that lies in the best window.

    Adapters may judge a document by more than its content, such as metadata in front of it.

    Args:
        content: The document's content.
        judged: The text that it was judged by. Where the content, but for blanks around it, is no
            part of that, the window is one of this text.
        window: Characters of ``judged``.

    Returns:
        ``None`` if the window has nothing of the content.

    >>> shown_window("Tea is hot. Ice melts.", "title: Drinks. Tea is hot. Ice melts.", (0, 26))
    ShownWindow(start=0, end=11, text='Tea is hot.')
    """
    start, end = window
    part = content if content in judged else content.strip()
    offset = judged.rfind(part)
    if offset < 0:
        return ShownWindow(start, end, judged[start:end])
    offset -= content.find(part)
    start, end = max(0, start - offset), min(len(content), end - offset)
    return ShownWindow(start, end, content[start:end]) if start < end else None
