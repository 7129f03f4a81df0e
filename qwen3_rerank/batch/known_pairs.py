"""The model that a job was begun with: its identity, and the margins that it gives known pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from qwen3_rerank.batch.errors import ChangedJobError
from shared_core.identity import agree, as_found, differences, farthest_apart, identity
from shared_core.reranker import Reranker

NAME = "scoring.json"
PAIRS = (
    (
        "What is the capital of France?",
        (
            "Paris is the capital of France.",
            "Lyon is a large city in the east of France.",
            "Yeast makes bread rise.",
        ),
    ),
    (
        "水在多少度结冰？",
        ("水在零摄氏度结冰。", "水在一百摄氏度沸腾。", "The parcel can be returned."),
    ),
)
"""Queries with a right, a related and a wrong document."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The identity of what scores.

    Attributes:
        identity: See `shared_core.identity.identity`; of a server also how it was found to be
            spoken to.
        logits: The margins of the documents of `PAIRS`; ``None`` of a scorer of one's own that
            cannot score those.
    """

    identity: dict[str, Any]
    logits: list[float] | None

    @classmethod
    def from_json(cls, data: bytes) -> Scoring | None:
        """Return the content of a file; ``None`` if it is damaged."""
        try:
            found = cls(**json.loads(data))
        except (ValueError, TypeError):
            return None
        return found if isinstance(found.identity, dict) else None


def scoring_of(reranker: Reranker) -> Scoring:
    """Score the known pairs, which loads the model or calls the server, and return its identity.

    Raises:
        RerankError: The model or the server does not work.
    """
    from qwen3_rerank.batch.scoring import may_be_a_row

    try:
        rankings = reranker.rerank_many(
            [query for query, _ in PAIRS], [documents for _, documents in PAIRS]
        )
        documents = [
            document
            for ranking in rankings
            for document in sorted(ranking, key=lambda document: document.index)
        ]
        logits = [document.logit for document in documents if document.logit is not None]
    except Exception as error:
        if reranker.custom_scorer is None or not may_be_a_row(error):
            raise
        return Scoring(identity(reranker), None)
    return Scoring(identity(reranker) | as_found(reranker), logits)


def check_same(before: Scoring, now: Scoring) -> None:
    """Raise unless scores of both can stand in one output.

    Raises:
        ChangedJobError: Names every difference.
    """
    different = differences(before.identity, now.identity)
    if different:
        raise ChangedJobError(
            f"the folder was begun with another model: {'; '.join(different)}. Give what it was "
            "begun with, or another folder."
        )
    if before.logits is None or now.logits is None:
        return
    if not agree(before.identity, before.logits, now.logits):
        apart = farthest_apart(before.logits, now.logits)
        raise ChangedJobError(
            "the model does not score as it did when the folder was begun: known pairs have "
            f"margins that are up to {apart:.2f} off, though its name is the same. Make it what it "
            "was, or give another folder."
        )
