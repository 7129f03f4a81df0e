"""`Runner`, between the facade and a backend: threads, duplicates, cache, windows, closing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
from shared_core.windows.folding import WindowPlan, plan_windows, planning
from shared_core.windows.meters import make_meter
from shared_core.worker import Job, Worker, in_one_step

logger = logging.getLogger("qwen3_rerank")
Request = TypeVar("Request", bound=ScoreRequest)
Result = TypeVar("Result")


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

    def judge(
        self,
        requests: Sequence[ScoreRequest],
        windows: Windows | None = None,
        seconds: float | None = None,
        *,
        by_last: bool = False,
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

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
        scorer = self.scorer
        requests = self.read(requests)
        if isinstance(scorer, StagedScorer):
            with self._asking(scorer):
                given = scorer.score_staged(requests, self._staging(windows, seconds, by_last))
                return checked_answers(type(scorer).__name__, given, requests)
        if isinstance(scorer, LoadingScorer) and have_images(requests):
            with self._asking(scorer):
                scorer.load()  # it knows then whether it sees, and documents are in their places
        self._check(scorer, requests)
        if windows is not None:
            with self._idle.used():
                plan = plan_windows(requests, windows, make_meter(scorer, self.options))
                return plan.fold(self.judge(plan.requests))
        distinct = Distinct(requests, self._cache)
        missing, name = distinct.missing, type(scorer).__name__
        answers: list[list[Scored]] = []
        if missing and isinstance(scorer, ManyScorer):
            with self._asking(scorer):
                given = scorer.score_many(missing, show_progress=self.options.show_progress)
                answers = checked_answers(name, given, missing)
        else:
            for request in missing:
                with self._asking(scorer):
                    found = margins(scorer, request)
                    answers.append(scored_of(name, found, len(request.documents)))
        return distinct.joined(answers)

    async def ajudge(
        self,
        requests: Sequence[ScoreRequest],
        windows: Windows | None = None,
        seconds: float | None = None,
        *,
        by_last: bool = False,
    ) -> list[list[Scored]]:
        """`judge` without blocking the loop: awaits an `AsyncScorer`, else uses a worker."""
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        scorer = await self._ascorer()
        requests = await self.aread(requests)
        if isinstance(scorer, StagedScorer):
            with self._asking(scorer, asyncio.CancelledError, GeneratorExit):
                given = await scorer.ascore_staged(
                    requests, self._staging(windows, seconds, by_last)
                )
                return checked_answers(type(scorer).__name__, given, requests)
        if isinstance(scorer, AsyncLoadingScorer) and have_images(requests):
            with self._asking(scorer, asyncio.CancelledError, GeneratorExit):
                await scorer.aload()
        if not isinstance(scorer, AsyncScorer):
            return await self._worker.arun(self._judging(requests, windows))
        self._check(scorer, requests)
        if windows is not None:
            with self._idle.used():
                plan = await self.aplan(requests, windows)
                return plan.fold(await self.ajudge(plan.requests))
        distinct = Distinct(requests, self._cache)
        answers: list[list[Scored]] = []
        if missing := distinct.missing:
            with self._asking(scorer, asyncio.CancelledError, GeneratorExit):
                given = await scorer.ascore_many(missing, show_progress=self.options.show_progress)
                answers = checked_answers(type(scorer).__name__, given, missing)
        return distinct.joined(answers)

    def _judging(
        self, requests: Sequence[ScoreRequest], windows: Windows | None
    ) -> Job[list[list[Scored]]]:
        """Return `judge` as a job, which a backend that takes one query at a time has steps in."""
        scorer = self.scorer
        self._check(scorer, requests)
        if windows is not None:
            with self._idle.used():
                plan = yield from planning(requests, windows, make_meter(scorer, self.options))
                return plan.fold((yield from self._judging(plan.requests, None)))
        if isinstance(scorer, ManyScorer):
            return self.judge(requests)
        answers: list[list[Scored]] = []
        for request in requests:
            if answers:
                yield
            answers += self.judge([request])
        return answers

    async def aplan(
        self, requests: Sequence[ScoreRequest], windows: Windows, *, most: int | None = None
    ) -> WindowPlan:
        """Return the requests with their long documents split, for `ajudge` and what is before it.

        A thread of its own splits them, so that it need not wait for a forward in progress.

        Args:
            requests: Queries with their documents.
            windows: The windows to split long documents into.
            most: The most windows, as `plan_windows` has it.
        """
        scorer = await self._ascorer()
        requests = await self.aread(requests)
        refuse_images(scorer, requests, self._name(scorer))
        if isinstance(scorer, MeteringScorer):
            await self.aload()

        def planned() -> Job[WindowPlan]:  # the meter may have to load a model: not on the loop
            meter = make_meter(scorer, self.options)
            return (yield from planning(requests, windows, meter, most=most))

        with self._idle.used():
            return await self._splitter.arun(planned())

    def load(self) -> None:
        """Have the backend load its model, or ask its server, if it can do so before a call."""
        scorer = self.scorer
        if isinstance(scorer, LoadingScorer):
            with self._asking(scorer):
                scorer.load()
        if self.calibrations is not None:
            self.calibrations.check()

    async def aload(self) -> None:
        """`load` without blocking the event loop."""
        scorer = await self._ascorer()
        if isinstance(scorer, AsyncLoadingScorer):
            with self._asking(scorer, asyncio.CancelledError, GeneratorExit):
                await scorer.aload()
            if self.calibrations is not None:
                self.calibrations.check()
        else:
            await self._worker.arun(in_one_step(self.load))

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

    async def _ascorer(self) -> Scorer:
        scorer = self._scorer
        if scorer is not None:
            return scorer
        return await self._worker.arun(in_one_step(lambda: self.scorer))

    def read(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Return requests with their images read, unless the backend takes none."""
        if are_read(requests):
            return requests
        refuse_images(self.scorer, requests, self._name(self.scorer))
        return read_requests(requests)

    async def compute(self, function: Callable[[], Result]) -> Result:
        """Return what a function computes, without blocking the loop or waiting for a forward."""
        return await self._splitter.arun(in_one_step(function))

    async def aread(self, requests: Sequence[Request]) -> Sequence[Request]:
        """`read` without blocking the event loop, nor waiting for a forward in progress."""
        if are_read(requests):
            return requests
        refuse_images(scorer := await self._ascorer(), requests, self._name(scorer))
        return await self.compute(lambda: read_requests(requests))

    def read_pairs(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """Return pairs with their images read. Errors name a pair by its query."""
        return [(one.query, one.documents[0]) for one in self.read(_singly(pairs))]

    async def aread_pairs(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """`read_pairs` without blocking the event loop."""
        return [(one.query, one.documents[0]) for one in await self.aread(_singly(pairs))]

    def _check(self, scorer: Scorer, requests: Sequence[ScoreRequest]) -> None:
        """Raise for what the backend cannot take: images, or texts that are not Unicode.

        Such a text, a scorer of one's own may take.
        """
        refuse_images(scorer, requests, self._name(scorer))
        if self.custom_scorer is None:
            check_requests(requests)

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
    def _asking(self, scorer: Scorer, *passing: type[BaseException]) -> Iterator[None]:
        """Translate what the backend raises; it keeps nothing of a call that a close overtakes.

        Args:
            scorer: The backend, for messages.
            *passing: What is not translated, besides what ends a program.

        Raises:
            ClosedError: The reranker is closed.
            RerankError: The backend failed.
        """
        self._refuse_if_closed()
        try:
            with self._idle.used():
                yield
        except BaseException as error:
            if isinstance(error, (RerankError, KeyboardInterrupt, SystemExit, *passing)):
                raise
            raise ScoringError(
                f"{type(scorer).__name__} failed: {type(error).__name__}: {error}"
            ) from error
        finally:
            if self.is_closed and self.custom_scorer is not None:
                self.unload()


def _singly(pairs: Sequence[Pair]) -> list[ScoreRequest]:
    return [ScoreRequest(query, "", [document]) for query, document in pairs]


async def _in_thread(call: Callable[[], None]) -> None:
    """Run a call that blocks in a thread of its own, not in the event loop's shared ones."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank-close")
    try:
        await asyncio.wrap_future(thread.submit(call))
    finally:
        thread.shutdown(wait=False)
