"""The declaration of an option: its default, its help, and what the programs must know of it.

An option is one field of a pydantic model, declared with `option`. Signatures, command-line flags,
environment variables, the tables of the README and "is this the same job" follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

Group = Literal[
    "Model",
    "Computing",
    "Long documents",
    "Ranking",
    "Calls",
    "Server",
    "Retries and limits",
    "Listening",
    "Limits",
    "Shutdown",
    "Logs",
]


@dataclass(frozen=True, slots=True)
class About:
    """The attributes of an option besides its name, type, default and help.

    Attributes:
        group: The heading under which tables and help texts list it.
        changes_scores: Whether two jobs that differ in it alone may have different scores.
        is_secret: Whether its value must never be shown.
        backends: The backends that it concerns; empty is all of them.
        flag: The name on command lines, if it differs; a list is given by repeating the flag.
    """

    group: Group
    changes_scores: bool = False
    is_secret: bool = False
    backends: tuple[str, ...] = ()
    flag: str | None = None

    def __call__(self, schema: dict[str, Any]) -> None:
        """Leave the JSON schema of the field as it is; pydantic offers it to be changed."""


def option(default: Any, help_text: str, about: About, **constraints: Any) -> Any:
    """Return the field of an option.

    Args:
        default: The default; for a list or a dictionary, a function that makes it.
        help_text: One plain sentence or two.
        about: Everything else.
        **constraints: Arguments of `pydantic.Field`, such as ``ge=1``.
    """
    if callable(default):
        return Field(
            default_factory=default, description=help_text, json_schema_extra=about, **constraints
        )
    return Field(default=default, description=help_text, json_schema_extra=about, **constraints)


def about_options(model: type[BaseModel]) -> Mapping[str, About]:
    """Return the `About` of each option of a model, by name, in order of declaration."""
    return {
        name: field.json_schema_extra
        for name, field in model.model_fields.items()
        if isinstance(field.json_schema_extra, About)
    }
