"""`Life`: a backend is made once, loaded, unloaded when idle, and closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from shared_core.backend.idle import IdleClock
from shared_core.backend.score_cache import ScoreCache
from shared_core.backend.seeing import sees
from shared_core.calibration import Calibrations
from shared_core.errors import ClosedError, ForkedProcessError, RerankError, ScoringError
from shared_core.forking import ForkGuard
from shared_core.options import RerankerOptions
from shared_core.scorers.choose import make_scorer
from shared_core.scoring import (
    AsyncLoadingScorer,
    ClosingScorer,
    LoadedScorer,
    LoadingScorer,
    Scorer,
    UnloadingScorer,
)
from shared_core.staging import StagedScorer, check_staged
from shared_core.steps import Steps, on_worker, wait
from shared_core.worker import Worker

logger = logging.getLogger("qwen3_rerank")
Result = TypeVar("Result")

# What ends a program, or steps that nobody waits for any more.
_PASSING = (KeyboardInterrupt, SystemExit, GeneratorExit)


class Life:
    """A backend, made on first use, once, for all threads and event loops.

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

    def computing(self, function: Callable[[], Result]) -> Steps[Result]:
        """Return what a function computes, without waiting for a forward in an event loop."""
        return on_worker(self._splitter, wait(function))

    def _made(self) -> Steps[Scorer]:
        if self._scorer is not None:
            return self._scorer
        return (yield from on_worker(self._worker, wait(lambda: self.scorer)))

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
