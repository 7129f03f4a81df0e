"""Options of long documents, and their values for one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator

from shared_core.numbers import refuse_bool
from shared_core.options.option import About, option

LongDocuments = Literal["truncate", "windows"]

_ABOUT = About("Long documents", changes_scores=True)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows in force.

    Attributes:
        tokens: The most document tokens of one; a document of more is split.
        overlap: The most of them that two windows share.
    """

    tokens: int
    overlap: int

    def within(self, room: int) -> Windows:
        """Return windows that fit, smaller in proportion where there is less room."""
        if room >= self.tokens:
            return self
        return Windows(room, self.overlap * room // self.tokens)


class WindowOptions(BaseModel):
    """Options of long documents; `Reranker` documents the fields."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    long_documents: LongDocuments = option(
        "truncate",
        '"truncate" cuts the end of a document that is too long; "windows" scores overlapping '
        "windows of it and takes the best.",
        _ABOUT,
    )
    # LlamaIndex's own chunk size, so that what was chunked as usual is judged whole.
    window_tokens: int = option(
        1024, "The most document tokens of a window, from 16.", _ABOUT, ge=16
    )
    window_overlap: int | None = option(
        None,
        "Tokens, in whole sentences, that two windows share: at most half of a window, and an "
        "eighth by default.",
        _ABOUT,
        ge=0,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bools(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a bool as a number: pydantic takes True for 1."""
        if info.field_name is not None:
            annotation = cls.model_fields[info.field_name].annotation
            kinds = get_args(annotation) or (annotation,)
            if bool not in kinds and {int, float} & set(kinds):
                return refuse_bool(value)
        return value

    @model_validator(mode="after")
    def _check_overlap(self) -> WindowOptions:
        self.check_windows()
        return self

    def check_windows(self) -> None:
        """Raise `ValueError` unless windows go forward by half of themselves at least.

        With more overlap, every token would be scored more than twice.
        """
        if self.window_overlap is not None and self.window_overlap > self.window_tokens // 2:
            raise ValueError(
                f"window_overlap={self.window_overlap} is more than half of "
                f"window_tokens={self.window_tokens}: give less overlap, or longer windows"
            )

    @property
    def windows(self) -> Windows | None:
        """The windows to split long documents into; ``None`` if they are to be truncated."""
        if self.long_documents == "truncate":
            return None
        overlap = self.window_tokens // 8 if self.window_overlap is None else self.window_overlap
        return Windows(self.window_tokens, overlap)


WINDOW_OPTIONS = frozenset(WindowOptions.model_fields)
"""The options that go with every call."""


def windows_of(configured: WindowOptions, options: Mapping[str, Any]) -> Windows | None:
    """Return the windows of a call: by its own options, and the configured ones for those left out.

    Raises:
        pydantic.ValidationError: One of them is out of range, or contradicts another.
    """
    given = {name: options[name] for name in WINDOW_OPTIONS if options.get(name) is not None}
    if not given:
        return configured.windows
    return WindowOptions(
        **{name: getattr(configured, name) for name in WINDOW_OPTIONS} | given
    ).windows
