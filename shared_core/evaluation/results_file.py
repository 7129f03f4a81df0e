"""Scores on disk, a line per query, so that a run that was killed goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared_core.document_files import InputError


@dataclass(frozen=True, slots=True)
class QueryScores:
    """What one system said of the candidates of one query.

    Attributes:
        key: Of all that the scores depend on; see `shared_core.evaluation.systems.key_of`.
        query: The query's id.
        logits: A margin per candidate, in the order of the first stage.
        tokens: Prompt tokens of all candidates together; ``None`` where the backend cannot tell.
        truncated: How many candidates lost their end; ``None`` likewise.
        seconds: What the call took; ``None`` if queries were scored several at once.
    """

    key: str
    query: str
    logits: Sequence[float]
    tokens: int | None
    truncated: int | None
    seconds: float | None


class ResultsFile:
    """Appends scores, and knows those of runs before.

    Args:
        path: A file that need not be there; ``None`` keeps them in memory alone.

    Raises:
        InputError: It holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, QueryScores] = {}
        if path is not None and path.exists():
            self._read(path)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> QueryScores | None:
        """Return what is known."""
        return self._known.get(key)

    def add(self, scores: Sequence[QueryScores]) -> None:
        """Append scores; they are on the disk when this returns."""
        self._known.update((one.key, one) for one in scores)
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(asdict(one)) + "\n" for one in scores)
        with self._path.open("ab") as stream:
            stream.write(lines.encode())
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self, path: Path) -> None:
        """Read all lines; one that was torn at the end, when the writer was killed, is cut off."""
        whole = 0
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                value = _parsed(line)
                if value is None and not line.endswith(b"\n"):
                    break
                if value is None:
                    raise InputError(
                        f"{path}, line {number}: no result of an evaluation. Give another folder, "
                        "or delete the line; its query is then scored again."
                    )
                whole += len(line)
                self._known.setdefault(value.key, value)
            torn = path.stat().st_size - whole
        if torn:
            os.truncate(path, whole)
        elif whole and not line.endswith(b"\n"):
            with path.open("ab") as stream:
                stream.write(b"\n")


def _parsed(line: bytes) -> QueryScores | None:
    with contextlib.suppress(ValueError, TypeError):
        value: dict[str, Any] = json.loads(line)
        found = QueryScores(**value)
        if isinstance(found.key, str) and isinstance(found.logits, list):
            return found
    return None
