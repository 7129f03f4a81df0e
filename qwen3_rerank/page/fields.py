"""The values that the page's inputs take: plain text, a choice, a number or a tick.

Gradio takes some JSON objects for files, whichever input they are given to, and reads or fetches
what they name. No input of this page is a file, so no object is ever passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

Value = str | int | float | bool | None
Check = Callable[[Any], bool]
_LARGEST = 1e9


def checks_of(page: gr.Blocks) -> dict[int, list[Check]]:
    """Return the check of every input of every event that runs on the server, by its number.

    Raises:
        TypeError: An input is of a kind that has no check; the page must not be served.
    """
    return {
        number: [_check_of(component) for component in event.inputs]
        for number, event in page.fns.items()
        if event.fn is not None
    }


def _check_of(component: Any) -> Check:
    kind = type(component)
    if kind is gr.Textbox:
        return _is_text
    if kind is gr.Radio or kind is gr.Dropdown:
        return frozenset(value for _, value in component.choices).__contains__
    if kind is gr.Number:
        return _is_number
    if kind is gr.Checkbox:
        return _is_tick
    raise TypeError(f"an input of the page is a {kind.__name__}, whose values are not checked")


def _is_text(value: Value) -> bool:
    return value is None or isinstance(value, str)


def _is_tick(value: Value) -> bool:
    return value is None or isinstance(value, bool)


def _is_number(value: Value) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _LARGEST  # neither infinity nor what is no number
