"""`Runner`, between the facade and a backend: threads, duplicates, cache, windows, closing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from shared_core.backend.answers import checked_answers, scored_of
from shared_core.backend.distinct import Distinct
from shared_core.backend.idle import IdleClock
from shared_core.backend.score_cache import ScoreCache
from shared_core.backend.seeing import have_images, margins, refuse_images, sees
from shared_core.calibration import Calibrations
from shared_core.errors import (
    ClosedError,
    ForkedProcessError,
    RerankError,
    ScoringError,
)
from shared_core.forking import ForkGuard
from shared_core.images.reading import are_read, read_requests
from shared_core.options import RerankerOptions
from shared_core.options.windows import Windows
from shared_core.prompt.encodable import check_requests
from shared_core.scorers.choose import make_scorer
from shared_core.scoring import (
    AsyncLoadingScorer,
    AsyncScorer,
    ClosingScorer,
    LoadedScorer,
    LoadingScorer,
    ManyScorer,
    MeteringScorer,
    Pair,
    Scored,
    Scorer,
    ScoreRequest,
    StagedScorer,
    Staging,
    UnloadingScorer,
    check_staged,
)
from shared_core.steps import Steps, on_worker, wait
from shared_core.windows.folding import WindowPlan, planning
from shared_core.windows.meters import make_meter
from shared_core.worker import Worker

logger = logging.getLogger("qwen3_rerank")
Request = TypeVar("Request", bound=ScoreRequest)
Result = TypeVar("Result")

# What ends a program, or steps that nobody waits for any more.
_PASSING = (KeyboardInterrupt, SystemExit, GeneratorExit)


class Runner:
    """Runs requests on one backend, from any thread and event loop.

    The backend is made on first use, once. Each distinct document of a request is scored once, and
    one whose score is in the cache not at all.

    Args:
        options: Say which backend.
        scorer: A backend to use instead.
    """

    def __init__(self, options: RerankerOptions, scorer: Scorer | None) -> None:
        self.options = options
        self.custom_scorer = scorer
        if isinstance(scorer, StagedScorer):
            check_staged(options)
        self._scorer: Scorer | None = None
        self._cache = ScoreCache(options.cache_size) if options.cache_size else None
        # Making it imports torch, which takes seconds and must not be forked in the middle.
        self._making = ForkGuard()
        self._worker = Worker("qwen3-rerank")
        self._splitter = Worker("qwen3-rerank-split")
        self._idle = IdleClock(
            None if options.is_remote else options.unload_after, self._unload_idle
        )
        given = options.calibration
        self.calibrations = None if given is None else Calibrations(options, scorer)
        self.is_closed = False

    @property
    def is_loaded(self) -> bool:
        """Whether a local model is in memory."""
        scorer = self._scorer
        return not self.is_closed and isinstance(scorer, LoadedScorer) and bool(scorer.is_loaded)

    @property
    def takes_images(self) -> bool:
        """Whether the backend takes images; one that is not loaded may say so, and refuse them."""
        return sees(self.scorer)

    @property
    def scorer(self) -> Scorer:
        """The backend, made if need be."""
        with self._making.held():
            self._refuse_if_closed()
            if self._scorer is None:
                if self._making.is_torn:
                    raise ForkedProcessError("its parent was importing the backend")
                custom = self.custom_scorer
                self._scorer = make_scorer(self.options) if custom is None else custom
            return self._scorer

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
            with self._asking(scorer):
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
            with self._idle.used():
                plan = yield from self.planning(requests, windows)
                return plan.fold((yield from self._judging(scorer, plan.requests, None)))
        distinct = Distinct(requests, self._cache)
        missing, name = distinct.missing, type(scorer).__name__
        answers: list[list[Scored]] = []
        if missing and isinstance(scorer, ManyScorer):
            show = self.options.show_progress
            with self._asking(scorer):
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
                with self._asking(scorer):
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

    def loading(self) -> Steps[None]:
        """Have the backend load its model, or ask its server, if it can do so before a call."""
        scorer = yield from self._made()
        if isinstance(scorer, LoadingScorer):
            yield from self._loading(scorer)
        if self.calibrations is not None:
            yield from self.computing(self.calibrations.check)

    def _loading(self, scorer: LoadingScorer) -> Steps[None]:
        if isinstance(scorer, AsyncLoadingScorer):
            steps = wait(scorer.load, scorer.aload)
        else:
            steps = on_worker(self._worker, wait(scorer.load))
        with self._asking(scorer):
            yield from steps

    def unload(self) -> None:
        """Free model and cache, after the work in progress; the next call loads the model again."""
        if isinstance(self._scorer, UnloadingScorer):
            self._scorer.unload()
        if self._cache is not None:
            self._cache.clear()

    def _unload_idle(self) -> None:
        """Free the model alone: the cache is small, and answers without it."""
        if self.is_loaded and isinstance(self._scorer, UnloadingScorer):
            self._scorer.unload()
            logger.info(
                "%s is unloaded: not used for %g s", self.options.model, self.options.unload_after
            )

    async def aunload(self) -> None:
        """`unload` without blocking the event loop."""
        await _in_thread(self.unload)

    def close(self) -> None:
        """Free everything, after the forward in progress. Closing twice is fine.

        Calls that are not done, and later ones, raise `ClosedError`. A scorer of the user's is
        unloaded, and not closed.
        """
        self.is_closed = True
        self._idle.stop()
        self._worker.close()
        self._splitter.close()
        with self._making.held():
            scorer = self._scorer
        if scorer is None:
            return
        if self.custom_scorer is None and isinstance(scorer, ClosingScorer):
            scorer.close()
            if self._cache is not None:
                self._cache.clear()
        else:
            self.unload()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await _in_thread(self.close)

    def reading(self, requests: Sequence[Request]) -> Steps[Sequence[Request]]:
        """Return requests with their images read, unless the backend takes none."""
        if are_read(requests):
            return requests
        scorer = yield from self._made()
        refuse_images(scorer, requests, self._name(scorer))
        return (yield from self.computing(partial(read_requests, requests)))

    def reading_pairs(self, pairs: Sequence[Pair]) -> Steps[Sequence[Pair]]:
        """Return pairs with their images read. Errors name a pair by its query."""
        requests = [ScoreRequest(query, "", [document]) for query, document in pairs]
        read = yield from self.reading(requests)
        return [(request.query, request.documents[0]) for request in read]

    def computing(self, function: Callable[[], Result]) -> Steps[Result]:
        """Return what a function computes, without waiting for a forward in an event loop."""
        return on_worker(self._splitter, wait(function))

    def _made(self) -> Steps[Scorer]:
        if self._scorer is not None:
            return self._scorer
        return (yield from on_worker(self._worker, wait(lambda: self.scorer)))

    def _staging(self, windows: Windows | None, seconds: float | None, by_last: bool) -> Staging:
        passes = self.options.on_error == "passthrough" and not by_last
        return Staging(windows, seconds, passes, by_last)

    def _name(self, scorer: Scorer) -> str:
        """Return the name of what scores, for errors."""
        return self.options.model if self.custom_scorer is None else type(scorer).__name__

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise ClosedError("the reranker is closed; make a new one (unload() only frees)")

    @contextmanager
    def _asking(self, scorer: object) -> Iterator[None]:
        """Translate what the backend raises; it keeps nothing of a call that a close overtakes.

        Args:
            scorer: The backend, for messages.

        Raises:
            ClosedError: The reranker is closed.
            RerankError: The backend failed.
        """
        self._refuse_if_closed()
        try:
            with self._idle.used():
                yield
        except BaseException as error:
            if isinstance(error, (RerankError, *_PASSING)):
                raise
            raise ScoringError(
                f"{type(scorer).__name__} failed: {type(error).__name__}: {error}"
            ) from error
        finally:
            if self.is_closed and self.custom_scorer is not None:
                self.unload()


async def _in_thread(call: Callable[[], None]) -> None:
    """Run a call that blocks in a thread of its own, not in the event loop's shared ones."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank-close")
    try:
        await asyncio.wrap_future(thread.submit(call))
    finally:
        thread.shutdown(wait=False)
