"""Ranking through the queue of the service, for its routes and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from qwen3_rerank.service.engine import Service
from qwen3_rerank.service.failures import RefusedError
from qwen3_rerank.service.limits import check_limits
from shared_core.calibration import Calibration
from shared_core.candidates import Candidates
from shared_core.errors import ConfigurationError
from shared_core.evidence import EvidenceSearch
from shared_core.images.content import Content
from shared_core.inputs import rank_requests
from shared_core.options import RankingOptions
from shared_core.options.calls import RankCallOptions, ranking_of
from shared_core.options.windows import Windows, windows_of
from shared_core.pacing import Paced
from shared_core.results import Ranking, ranked_documents
from shared_core.scoring import RankRequest, Scored, ScoreRequest


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
        return [scored for answer in self.answers for scored in answer] + self.more


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
        whole: Queries with their documents, which share their turns in the queue.
        ranking: The options of the rankings. The budget of time begins now: waiting counts.
        key: Names the API key that asks.

    Raises:
        RefusedError: Limits are exceeded, the queue is full, or these texts cannot be scored.
    """
    candidates = Candidates(whole, ranking.max_candidates)
    calibrations = [calibration_of(service, request, ranking) for request in whole]
    check_limits(candidates.requests, service.settings)
    if ranking.time_budget is None:
        answers = await service.score(candidates.requests, windows, key=key)
    else:
        paced = Paced(candidates.requests, ranking.time_budget)
        while pack := paced.next():
            paced.add(await service.score(pack, windows, key=key))
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
    if not ranking.seeks_evidence:
        return Ranked(rankings, candidates.requests, answers, [])
    # Bounded as the texts are: each sentence is in six of them at most.
    make = partial(EvidenceSearch, whole, rankings, service.settings.max_length)
    search = await service.aside(make)
    found = await service.score(search.requests, key=key)
    more = [scored for answer in found for scored in answer]
    return Ranked(search.found(found, ranking), candidates.requests, answers, more)


async def rank(
    service: Service,
    query: str | Content,
    documents: Sequence[str | Content],
    options: RankCallOptions,
) -> Ranking:
    """Return what `Reranker.rerank` returns, through the queue. Raises `RefusedError`."""
    ranking, windows = ranking_of(options), windows_of(service.settings, options)
    async with service.accept():
        seen = await service.seen([service.request(query, documents, options.get("instruction"))])
        requests = rank_requests(seen, ranking, None, None)
        return (await ranked(service, requests, ranking, windows)).rankings[0]


def calibration_of(
    service: Service, request: ScoreRequest, ranking: RankingOptions
) -> Calibration | None:
    """Return the calibration of the scores of a request, if the service has one.

    Raises:
        RefusedError: It has none for this instruction, or the ranking needs one.
    """
    if service.reranker.options.calibration is None:
        if ranking.min_probability is not None:
            raise RefusedError(
                422, "min_probability: this service has no calibration; use score_threshold"
            )
        return None
    try:
        return service.reranker.calibration_of(request.instruction)
    except ConfigurationError as error:
        raise RefusedError(
            422,
            "the calibration of this service was fitted with another instruction or model, and "
            "probabilities would be wrong: leave out the instruction",
        ) from error
