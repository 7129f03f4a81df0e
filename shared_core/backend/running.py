"""`Runner`, between the facade and a backend: threads, duplicates, cache, windows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from shared_core.backend.answers import checked_answers, scored_of
from shared_core.backend.distinct import Distinct
from shared_core.backend.life import Life
from shared_core.backend.seeing import have_images, margins, naming, nothing_for, refuse_images
from shared_core.images.reading import are_read, read_requests
from shared_core.options.windows import Windows
from shared_core.prompt.encodable import check_requests
from shared_core.scoring import (
    AsyncScorer,
    LoadingScorer,
    ManyScorer,
    MeteringScorer,
    Pair,
    Scored,
    Scorer,
    ScoreRequest,
)
from shared_core.staging import StagedScorer, Staging
from shared_core.steps import Steps, on_worker, wait
from shared_core.windows.folding import WindowPlan, planning
from shared_core.windows.meters import make_meter

Request = TypeVar("Request", bound=ScoreRequest)


class Runner(Life):
    """Runs requests on one backend, from any thread and event loop.

    Each distinct document of a request is scored once, and one whose score is in the cache not at
    all.
    """

    def judging(
        self,
        requests: Sequence[ScoreRequest],
        windows: Windows | None = None,
        seconds: float | None = None,
        *,
        by_last: bool = False,
    ) -> Steps[list[list[Scored]]]:
        """Return one `Scored` per document of each request, in input order.

        Event loops await an `AsyncScorer`; for them, a worker calls any other backend.

        Args:
            requests: Queries with their documents.
            windows: The windows to split long documents into; ``None`` leaves them to the backend.
            seconds: The time that a backend of several stages has.
            by_last: Have its last stage judge all, so that their margins are comparable.

        Raises:
            RerankError: The backend failed; foreign exceptions are translated.
        """
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        scorer = yield from self._made()
        requests = yield from self.reading(requests)
        if isinstance(scorer, StagedScorer):
            staging = self._staging(windows, seconds, by_last)
            with self._asking(scorer), naming(requests):
                given = yield from wait(
                    partial(scorer.score_staged, requests, staging),
                    partial(scorer.ascore_staged, requests, staging),
                )
                return checked_answers(type(scorer).__name__, given, requests)
        steps = self._judging(scorer, requests, windows)
        if not isinstance(scorer, AsyncScorer):
            steps = on_worker(self._worker, steps)
        return (yield from steps)

    def _judging(
        self, scorer: Scorer, requests: Sequence[ScoreRequest], windows: Windows | None
    ) -> Steps[list[list[Scored]]]:
        if isinstance(scorer, LoadingScorer) and have_images(requests):
            # It knows then whether it sees, and documents are still in their places.
            yield from self._loading(scorer)
        refuse_images(scorer, requests, self._name(scorer))
        if self.custom_scorer is None:  # one of the user's own may take texts that are not Unicode
            check_requests(requests)
        if windows is not None:
            with self._idle.used(), naming(requests):
                plan = yield from self.planning(requests, windows)
                return plan.fold((yield from self._judging(scorer, plan.requests, None)))
        distinct = Distinct(requests, self._cache)
        missing, name = distinct.missing, type(scorer).__name__
        answers: list[list[Scored]] = []
        if missing and isinstance(scorer, ManyScorer):
            show = self.options.show_progress
            with self._asking(scorer), naming(requests):
                answer = yield from wait(
                    partial(scorer.score_many, missing, show_progress=show),
                    partial(scorer.ascore_many, missing, show_progress=show)
                    if isinstance(scorer, AsyncScorer)
                    else None,
                )
                answers = checked_answers(name, answer, missing)
        else:
            for request in missing:
                if answers:
                    yield None
                with self._asking(scorer), naming(requests):
                    found = yield from wait(partial(margins, scorer, request))
                    answers.append(scored_of(name, found, len(request.documents)))
        return distinct.joined(answers)

    def planning(
        self, requests: Sequence[ScoreRequest], windows: Windows, *, most: int | None = None
    ) -> Steps[WindowPlan]:
        """Return the requests with their long documents split.

        For event loops, a thread of its own splits them, which need not wait for a forward.

        Args:
            requests: Queries with their documents.
            windows: The windows to split long documents into.
            most: The most windows, as `shared_core.windows.folding.planning` has it.
        """
        scorer = yield from self._made()
        requests = yield from self.reading(requests)
        refuse_images(scorer, requests, self._name(scorer))
        if isinstance(scorer, MeteringScorer) and isinstance(scorer, LoadingScorer):
            yield from self._loading(scorer)
        with self._idle.used():
            return (
                yield from on_worker(self._splitter, self._planned(scorer, requests, windows, most))
            )

    def _planned(
        self, scorer: Scorer, requests: Sequence[ScoreRequest], windows: Windows, most: int | None
    ) -> Steps[WindowPlan]:
        # The meter may have to load a model.
        meter = make_meter(scorer, self.options)
        return (yield from planning(requests, windows, meter, most=most))

    def reading(self, requests: Sequence[Request]) -> Steps[Sequence[Request]]:
        """Return requests with their images read, unless the backend takes none."""
        if are_read(requests):
            return requests
        scorer = yield from self._made()
        refuse_images(scorer, requests, self._name(scorer))
        read = partial(read_requests, requests, nothing=nothing_for(scorer))
        return (yield from self.computing(read))

    def reading_pairs(self, pairs: Sequence[Pair]) -> Steps[Sequence[Pair]]:
        """Return pairs with their images read. Errors name a pair by its query."""
        requests = [ScoreRequest(query, "", [document]) for query, document in pairs]
        read = yield from self.reading(requests)
        return [(request.query, request.documents[0]) for request in read]

    def _staging(self, windows: Windows | None, seconds: float | None, by_last: bool) -> Staging:
        passes = self.options.on_error == "passthrough" and not by_last
        return Staging(windows, seconds, passes, by_last)
