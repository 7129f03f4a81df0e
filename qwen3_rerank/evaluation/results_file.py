"""A file of scores, a line per query, so that a killed run continues where it stopped."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from qwen3_rerank.reading.folders import FolderError, OutputFolder
from qwen3_rerank.reading.text import InputError

NAME = "results.jsonl"


@dataclass(frozen=True, slots=True)
class QueryScores:
    """The scores of one system for the candidates of one query.

    Attributes:
        key: The digest of everything that the scores depend on; see
            `qwen3_rerank.evaluation.systems.key_of`.
        logits: A margin per candidate, in the order of the first stage.
        tokens: Prompt tokens of all candidates together; ``None`` where the backend cannot tell.
        truncated: The number of candidates that were cut; ``None`` likewise.
        seconds: The time of the call; ``None`` if several queries were scored at once.
        tokens_each: Prompt tokens of each candidate; ``None`` where ``tokens`` is.
    """

    key: str
    query: str
    logits: Sequence[float]
    tokens: int | None
    truncated: int | None
    seconds: float | None
    tokens_each: Sequence[int] | None = None


def sum_if_known(values: Sequence[int | None]) -> int | None:
    """Return the sum; ``None`` if one of the values is unknown."""
    return None if None in values else sum(filter(None, values))


def mean_if_known(values: Sequence[float | None]) -> float | None:
    """Return the mean; ``None`` if one of the values is unknown, or there are none."""
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


class ResultsFile:
    """Appends scores, and reads those of earlier runs.

    Args:
        folder: The folder of the file, which need not be there yet; ``None`` keeps scores in
            memory alone.

    Attributes:
        known: The scores by their key, those of earlier runs among them.

    Raises:
        InputError: The file holds something else.
        FolderError: The file is a link.
    """

    def __init__(self, folder: OutputFolder | None) -> None:
        self._folder = folder
        self.known: dict[str, QueryScores] = {}
        self._whole: int | None = None  # bytes before a torn line
        self._missing = ""  # at the end of a whole one
        if folder is not None:
            self._read(folder)

    def add(self, scores: Sequence[QueryScores]) -> None:
        """Append scores; they are on the disk when this returns."""
        self.known.update((entry.key, entry) for entry in scores)
        if self._folder is None:
            return
        if not self._folder.is_in_place():
            raise FolderError(
                f"{self._folder.path} was deleted or replaced: the scores have no place"
            )
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in scores)
        with self._folder.appending(NAME) as stream:
            if self._whole is not None:
                stream.truncate(self._whole)
                self._whole = None
            stream.write((self._missing + lines).encode())
            self._missing = ""

    def _read(self, folder: OutputFolder) -> None:
        """Read all lines; one that was torn at the end is cut off before anything is appended."""
        data = folder.read(NAME)
        whole = 0
        line = b""
        for number, line in enumerate(io.BytesIO(data or b""), 1):
            value = _parsed(line)
            if value is None and not line.endswith(b"\n"):
                break
            if value is None:
                raise InputError(
                    f"{folder.path / NAME}, line {number}: no result of an evaluation. Give "
                    "another folder, or delete the line; its query is then scored again."
                )
            whole += len(line)
            self.known.setdefault(value.key, value)
        if len(data or b"") > whole:
            self._whole = whole
        elif whole and not line.endswith(b"\n"):
            self._missing = "\n"


def _parsed(line: bytes) -> QueryScores | None:
    with contextlib.suppress(ValueError, TypeError):
        value: dict[str, Any] = json.loads(line)
        found = QueryScores(**value)
        if isinstance(found.key, str) and isinstance(found.logits, list):
            return found
    return None
