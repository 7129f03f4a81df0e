"""Numbers in pydantic models, which would take ``true`` for 1."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def refuse_bool(value: Any) -> Any:
    """Return a value that is to become a number; a bool is a `ValueError`."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got a bool")
    return value


Number = Annotated[float, BeforeValidator(refuse_bool)]
Whole = Annotated[int, BeforeValidator(refuse_bool)]
