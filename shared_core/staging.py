"""Backends of several stages, as `shared_core.cascade` has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from shared_core.errors import ConfigurationError
from shared_core.scoring import Scored, ScoreRequest

if TYPE_CHECKING:
    from shared_core.options import RankingOptions, RerankerOptions
    from shared_core.options.windows import Windows


@dataclass(frozen=True, slots=True)
class Staging:
    """What a backend of several stages is told of a call.

    Attributes:
        windows: The windows to split long documents into; ``None`` splits none.
        seconds: The time for the stages after the first; ``None`` is no bound.
        passes: Leave the judgements of the first stage where the second fails for now.
        by_last: Have the last stage judge all.
    """

    windows: Windows | None = None
    seconds: float | None = None
    passes: bool = False
    by_last: bool = False


@runtime_checkable
class StagedScorer(Protocol):
    """A backend that judges some documents by another model, depending on all of a query.

    So it is given whole lists, copies and long documents included, and no score of it is cached.
    """

    def check_ranking(self, ranking: RankingOptions) -> None:
        """Warn if the options of a ranking do not go with the stages."""
        ...

    def score_staged(
        self, requests: Sequence[ScoreRequest], staging: Staging
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order, with its stage."""
        ...

    async def ascore_staged(
        self, requests: Sequence[ScoreRequest], staging: Staging
    ) -> list[list[Scored]]:
        """Return what `score_staged` returns, without blocking the loop."""
        ...


def check_staged(options: RerankerOptions) -> None:
    """Raise if the reranker of such a backend has options that need a single model."""
    if options.cache_size:
        raise ConfigurationError("cache_size belongs to the rerankers of a Cascade: set theirs")
    if options.calibration is not None:
        raise ConfigurationError(
            "a calibration is of one model, and a Cascade has two: leave it out"
        )


def refusal_of_stages(why: str) -> ConfigurationError:
    """Return the error where something cannot use a backend of several stages."""
    return ConfigurationError(
        f"a Cascade has scores of two models, which are not comparable, and {why}: use rerank, or "
        "judge, whose results have a stage; or give one of its two rerankers"
    )
