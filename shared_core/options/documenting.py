"""Docstrings that describe the options, from their declarations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from textwrap import wrap
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from shared_core.options.option import Group, about_options

Owner = TypeVar("Owner", bound=Callable[..., Any])


def documented(model: type[BaseModel]) -> Callable[[Owner], Owner]:
    """Return a decorator that adds the options of a model to the arguments in a docstring.

    What the docstring says of an option itself stays in the place of its help.
    """

    def document(owner: Owner) -> Owner:
        if owner.__doc__ is not None:  # python -OO has none
            owner.__doc__ = _described(inspect.cleandoc(owner.__doc__), model)
        return owner

    return document


def _described(docstring: str, model: type[BaseModel]) -> str:
    head, heading, rest = docstring.partition("\nArgs:\n")
    own, blank, tail = rest.partition("\n\n")
    names = re.findall(r"\w+", " ".join(re.findall(r"^ {4}(\w[\w, ]*):", own, re.MULTILINE)))
    options = {name: about for name, about in about_options(model).items() if name not in names}
    lines = [
        line
        for name in sorted(options, key=lambda name: get_args(Group).index(options[name].group))
        for line in wrap(
            f"{name}: {model.model_fields[name].description}", 92, subsequent_indent="    "
        )
    ]
    return head + heading + "\n".join([own, *(f"    {line}" for line in lines)]) + blank + tail
