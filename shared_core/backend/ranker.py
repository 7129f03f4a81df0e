"""`Ranker`, between the facade and a runner: budgets, passthrough, the order, evidence."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic

from shared_core.backend.running import Runner
from shared_core.backend.seeing import as_given, naming
from shared_core.candidates import Candidates
from shared_core.errors import ConfigurationError, RerankError
from shared_core.evidence import EvidenceSearch
from shared_core.images.reading import are_read
from shared_core.options import RankingOptions
from shared_core.options.windows import Windows
from shared_core.pacing import Paced
from shared_core.prompt.unwrapping import task_of
from shared_core.results import Ranking, passed_through, ranked_documents
from shared_core.scoring import RankRequest, Scored, ScoreRequest
from shared_core.staging import StagedScorer
from shared_core.steps import Steps

logger = logging.getLogger("qwen3_rerank")


class Ranker:
    """Ranks requests by what a runner judges.

    Args:
        runner: Judges.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def ranking(
        self, requests: Sequence[RankRequest], ranking: RankingOptions, windows: Windows | None
    ) -> Steps[list[Ranking]]:
        """Return one ranking per request.

        Raises:
            RerankError: Scoring failed. With ``on_error="passthrough"`` it does not raise what may
                pass, and a failing request spoils no other one.
        """
        if not are_read(requests):
            read, unread = yield from self._reading(requests)
            rankings = yield from self.ranking(read, ranking, windows)
            return _as_given(rankings, requests, unread, ranking)
        candidates, began = Candidates(requests, ranking.max_candidates), monotonic()
        failed: Mapping[int, RerankError] = {}
        try:
            if self._needs_load(requests, ranking):
                yield from self._runner.loading()
            self._check_instructions(requests)
            budget = self._budget(requests, ranking)
            if budget is None:
                answers = yield from self._runner.judging(
                    candidates.requests, windows, ranking.time_budget
                )
            else:
                yield from self._runner.loading()  # once, and not what the budget is for
                paced = Paced(candidates.requests, budget)
                while pack := paced.next():
                    with self._sparing(paced):
                        paced.add((yield from self._runner.judging(pack, windows)))
                answers, failed = candidates.reached(paced.found), paced.failed
        except RerankError as error:
            if not self._passes(error):
                raise
            if len(requests) == 1:
                return [_passed(requests[0], error, ranking)]
            found: list[Ranking] = []
            for request in requests:
                found += yield from self.ranking([request], _rest(ranking, began), windows)
            return found
        order = partial(self._ranked, candidates, answers, ranking, failed)
        if ranking.mmr is None or not any(answers):
            rankings = order()
        else:
            # Comparing every two takes a while, and need not wait for a forward in progress.
            rankings = yield from self._runner.computing(order)
        if not ranking.seeks_evidence:
            return rankings
        most = self._runner.options.max_length
        search = yield from self._runner.computing(lambda: EvidenceSearch(requests, rankings, most))
        try:
            scored = yield from self._runner.judging(search.requests, by_last=True)
        except RerankError as error:
            if not self._passes(error):
                raise
            logger.warning("documents are ranked, and their evidence was not found: %s", error)
            return rankings
        return search.found(scored, ranking)

    def _reading(
        self, requests: Sequence[RankRequest]
    ) -> Steps[tuple[Sequence[RankRequest], dict[int, RerankError]]]:
        """Return those requests whose images can be read, and the errors of the others."""
        try:
            return (yield from self._runner.reading(requests)), {}
        except RerankError as error:
            if not self._passes(error):
                raise
            if len(requests) == 1:
                return [], {0: error}
        read: list[RankRequest] = []
        failed: dict[int, RerankError] = {}
        for number, request in enumerate(requests):
            found, errors = yield from self._reading([request])
            read += found
            if errors:
                failed[number] = errors[0]
        return read, failed

    def _ranked(
        self,
        candidates: Candidates,
        answers: Sequence[Sequence[Scored]],
        ranking: RankingOptions,
        failed: Mapping[int, RerankError],
    ) -> list[Ranking]:
        of = None if self._runner.calibrations is None else self._runner.calibrations.of
        rankings = [
            ranked_documents(
                request.documents,
                scored,
                ranking,
                request.retrieved,
                None if of is None else of(task_of(request)),
            )
            for request, scored in zip(candidates.requests, answers, strict=True)
        ]
        completed = candidates.completed(rankings, ranking)
        for number, error in failed.items():
            completed[number] = _passed(candidates.whole[number], error, ranking)
        return completed

    def _needs_load(self, requests: Sequence[ScoreRequest], ranking: RankingOptions) -> bool:
        """Whether the model has to be there, since its files say which calibration it has.

        Raises:
            ConfigurationError: There is no calibration, and the ranking needs one.
        """
        if self._runner.calibrations is None:
            if ranking.min_probability is not None:
                raise ConfigurationError(
                    f"min_probability={ranking.min_probability} needs a calibration: give "
                    'Reranker(calibration="calibration.json"), or a score_threshold'
                )
            return False
        return not self._runner.calibrations.is_checked and any(r.documents for r in requests)

    def _check_instructions(self, requests: Sequence[ScoreRequest]) -> None:
        """Raise `ConfigurationError` before anything is scored without a calibration of its own."""
        if self._runner.calibrations is not None:
            for request in requests:
                self._runner.calibrations.of(task_of(request))

    def _budget(self, requests: Sequence[ScoreRequest], ranking: RankingOptions) -> float | None:
        """Return the seconds to score in, pack by pack; stages keep a budget by themselves."""
        if isinstance(self._runner.custom_scorer, StagedScorer):
            self._runner.custom_scorer.check_ranking(ranking)
            return None
        return ranking.time_budget if any(request.documents for request in requests) else None

    @contextmanager
    def _sparing(self, paced: Paced) -> Iterator[None]:
        """Have a failure that may pass spoil its own request alone."""
        try:
            with naming(paced.requests):
                yield
        except RerankError as error:
            if not self._passes(error):
                raise
            paced.fail(error)

    def _passes(self, error: RerankError) -> bool:
        return self._runner.options.on_error == "passthrough" and not error.is_permanent


def _as_given(
    rankings: Sequence[Ranking],
    requests: Sequence[RankRequest],
    failed: Mapping[int, RerankError],
    ranking: RankingOptions,
) -> list[Ranking]:
    """Return the rankings of all requests, with contents as they were before they were read.

    Args:
        rankings: Of those that did not fail.
        requests: All of them.
        failed: The errors of those whose images could not be read, by number.
        ranking: The options of the rankings.
    """
    whole = [one for number, one in enumerate(requests) if number not in failed]
    found = iter(as_given(rankings, whole))
    return [
        _passed(request, failed[number], ranking) if number in failed else next(found)
        for number, request in enumerate(requests)
    ]


def _rest(ranking: RankingOptions, began: float) -> RankingOptions:
    """Return the options with what is left of the budget; next to nothing where nothing is."""
    if ranking.time_budget is None:
        return ranking
    left = max(1e-9, ranking.time_budget - (monotonic() - began))
    return ranking.model_copy(update={"time_budget": left})


def _passed(request: ScoreRequest, error: RerankError, ranking: RankingOptions) -> Ranking:
    logger.warning(
        "reranking failed, passing %d documents through unscored: %s", len(request.documents), error
    )
    return passed_through(request.documents, error, ranking)
