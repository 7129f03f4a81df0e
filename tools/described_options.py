"""An extension of Griffe: docstrings on the site have the options that they are filled with.

Griffe reads the source, in which `shared_core.options.documenting.documented` has not run yet.
"""

from __future__ import annotations

import inspect
from typing import Any

import griffe


class DescribedOptions(griffe.Extension):
    """Takes the docstring of what is decorated with `documented` from the imported object."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace the docstring of a class or function."""
        if not isinstance(obj, (griffe.Class, griffe.Function)) or obj.docstring is None:
            return
        if any(str(mark.value).startswith("documented(") for mark in obj.decorators):
            obj.docstring.value = inspect.getdoc(griffe.dynamic_import(obj.path)) or ""
