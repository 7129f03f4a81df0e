"""The models of the page: one, or several by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from shared_core.errors import RerankError
from shared_core.options.calls import RankCallOptions
from shared_core.reranker import Reranker
from shared_core.results import Ranking

if TYPE_CHECKING:
    from typing_extensions import Unpack


class RankRefusedError(RerankError):
    """A ranking that the service around the page refused.

    Args:
        status: The HTTP status that a request would get.
        message: The reason, in English.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Rank(Protocol):
    """Protocol of `Reranker.arerank`, or a wrapper of it."""

    async def __call__(
        self, query: str, documents: Sequence[str], **options: Unpack[RankCallOptions]
    ) -> Ranking:
        """Return the documents to keep, best first."""
        ...


Models = Mapping[str, Rank]
"""How to rank with each model, by the name that the page shows; the first is chosen at first."""


def models_of(ranker: Reranker | Models) -> Models:
    """Return the models of the page, given as one reranker or as they are."""
    return {ranker.options.model: ranker.arerank} if isinstance(ranker, Reranker) else ranker
