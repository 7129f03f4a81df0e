"""The retriever's share in `rank`: the flag ``--fusion``, and the scores of requests."""

from __future__ import annotations

import math
from typing import Any

import typer

from qwen3_rerank.cli.rank_input import RankJob
from qwen3_rerank.reading.document_files import GivenDocument
from shared_core.fusion import Fusion, checked_scores


def fusion_of(value: str | None) -> Fusion | None:
    """Return the value of ``--fusion``: a name, or a weight.

    Raises:
        typer.BadParameter: It is neither.
    """
    if value is None or value == "rrf":
        return value  # type: ignore[return-value]  # a literal of it
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1:
        raise typer.BadParameter(
            f"{value!r:.40} is neither rrf nor a number from 0 to 1", param_hint="--fusion"
        )
    return weight


def retriever_scores(job: RankJob, key: str | None) -> list[float | None] | None:
    """Return a request's own ``retriever_scores``, else what its documents have under a key.

    Args:
        key: The field or column; ``None`` has no scores, and the order counts.

    Raises:
        ValueError: Something is no number, or there is not one per document.
    """
    scores = job.given.get("retriever_scores")
    if scores is None and key is not None:
        scores = [_score(document, key, at) for at, document in enumerate(job.documents)]
    try:
        return None if scores is None else checked_scores(scores, len(job.documents))
    except TypeError as error:
        raise ValueError(str(error)) from None


def _score(document: GivenDocument, key: str, place: int) -> Any:
    """Return the score of a document; cells of tables are texts."""
    value = document.given.get(key) if isinstance(document.given, dict) else None
    if not isinstance(value, str):
        return value
    try:
        return float(value) if value.strip() else None
    except ValueError:
        raise ValueError(f"document {place}: {key} is {value!r:.40}, expected a number") from None
