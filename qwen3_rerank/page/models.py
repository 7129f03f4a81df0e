"""The models of the page: one, or several by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shared_core.errors import RerankError
from shared_core.images.content import Content
from shared_core.images.limits import ImageLimits
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
        self,
        query: str | Content,
        documents: Sequence[str | Content],
        **options: Unpack[RankCallOptions],
    ) -> Ranking:
        """Return the documents to keep, best first."""
        ...


_LIMITS = ImageLimits(2**23, 2**24, paths=False, addresses="none")


@dataclass(frozen=True, slots=True)
class PageModel:
    """A model of the page.

    Attributes:
        takes_images: Tells whether it sees; asked anew, since a server may say it late.
        max_images: The most images of a ranking.
        image_limits: How large each of them may be. Files and URLs are not read.
    """

    rank: Rank
    takes_images: Callable[[], bool] = lambda: False
    max_images: int = 32
    image_limits: ImageLimits = _LIMITS


Models = Mapping[str, PageModel]
"""The models by the names that the page shows; the first is chosen at first."""

Given = Reranker | Mapping[str, Reranker | Rank | PageModel]
"""One reranker, or several by name; a function that ranks is taken to read text alone."""


def models_of(given: Given) -> Models:
    """Return the models of the page."""
    if isinstance(given, Reranker):
        given = {given.options.model: given}
    return {name: _model(one) for name, one in given.items()}


def _model(given: Reranker | Rank | PageModel) -> PageModel:
    if isinstance(given, PageModel):
        return given
    if isinstance(given, Reranker):
        return PageModel(given.arerank, lambda: given.takes_images)
    return PageModel(given)
