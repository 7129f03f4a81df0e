"""Protocol of a contestant inside its worker process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
TASK = "Given a web search query, retrieve relevant passages that answer the query"
"""The published prompt, written out: peers get it from nothing of ours."""


@dataclass(frozen=True, slots=True)
class Request:
    """One query with the documents to judge."""

    query: str
    documents: Sequence[str]


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings that all contestants share, and the contestant's own.

    Attributes:
        model: The checkpoint's folder or hub name.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device: ``"cpu"`` or ``"cuda"``.
        max_length: Tokens that the longest prompt may have.
        settings: The contestant's own.
    """

    model: str
    dtype: str
    device: str
    max_length: int
    settings: Mapping[str, Any] = field(default_factory=dict)


class SkippedError(Exception):
    """A variant was skipped; the message gives the reason."""


class Player(Protocol):
    """A contestant. The worker calls these methods in this order, `score` many times."""

    def imports(self) -> dict[str, str]:
        """Import everything and return the versions of what was imported."""
        ...

    def load(self) -> None:
        """Read the checkpoint."""
        ...

    def prepare(self, variant: Mapping[str, Any], /) -> None:
        """Prepare a measured call outside the measured time, such as by emptying a cache."""
        ...

    def score(self, requests: Sequence[Request], variant: Mapping[str, Any], /) -> list[float]:
        """Return P(yes) of every document of every request, in order."""
        ...


def slices(count: int, size: int) -> list[slice]:
    """Return consecutive slices of at most ``size`` out of ``count``.

    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
