"""Ranking through the queue of the service, for its routes and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared_core.candidates import Candidates
from shared_core.options import RankingOptions
from shared_core.options.windows import Windows
from shared_core.pacing import Paced
from shared_core.results import Ranking, ranked_documents
from shared_core.scoring import RankRequest, Scored, ScoreRequest

if TYPE_CHECKING:
    from qwen3_rerank.service.engine import Service


@dataclass(frozen=True, slots=True)
class Ranked:
    """The rankings of some requests, and what they took.

    Attributes:
        rankings: A ranking per request.
        requests: What was scored of the requests.
        answers: The judgements of that.
        more: The judgements that a search for evidence took.
    """

    rankings: list[Ranking]
    requests: Sequence[ScoreRequest]
    answers: list[list[Scored]]
    more: list[Scored]

    @property
    def scored(self) -> list[Scored]:
        """All judgements."""
        return [one for answer in self.answers for one in answer] + self.more


async def ranked(
    service: Service,
    whole: Sequence[RankRequest],
    ranking: RankingOptions,
    windows: Windows | None,
    *,
    key: str | None = None,
) -> Ranked:
    """Return the rankings of requests, as far as candidates and budget of time go.

    Args:
        service: Scores.
        whole: Queries with their documents, which share their turns in the queue.
        ranking: The options of the rankings. The budget of time begins now: waiting counts.
        windows: The windows to split long documents into.
        key: Names the API key that asks.

    Raises:
        RefusedError: Limits are exceeded, the queue is full, or these texts cannot be scored.
    """
    candidates = Candidates(whole, ranking.max_candidates)
    calibrations = [service.calibration(request, ranking) for request in whole]
    service.check_limits(candidates.requests)
    if ranking.time_budget is None:
        answers = await service.submitted(candidates.requests, windows, key)
    else:
        paced = Paced(candidates.requests, ranking.time_budget)
        while pack := paced.next():
            paced.add(await service.submitted(pack, windows, key))
        answers = candidates.reached(paced.found)

    def ordered() -> list[Ranking]:
        rankings = [
            ranked_documents(request.documents, scored, ranking, request.retrieved, calibration)
            for request, scored, calibration in zip(
                candidates.requests, answers, calibrations, strict=True
            )
        ]
        return candidates.completed(rankings, ranking)

    rankings = ordered() if ranking.mmr is None else await service.aside(ordered)
    found, more = await service.evidence(whole, rankings, ranking, key=key)
    return Ranked(found, candidates.requests, answers, more)
