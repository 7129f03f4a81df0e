"""The life of a reranker: its backend is made on first use, once; its worker; its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from shared_core.backend.judging import Judge
from shared_core.errors import ClosedError, ForkedProcessError
from shared_core.forking import ForkGuard
from shared_core.options import RerankerOptions
from shared_core.options.windows import Windows
from shared_core.prompt.encodable import check_requests
from shared_core.scorers.choose import make_scorer
from shared_core.scoring import Scored, Scorer, ScoreRequest
from shared_core.windows.folding import WindowPlan, planning
from shared_core.worker import Job, Worker, in_one_step, run_here


class Runner:
    """Runs requests on the backend of the options, from any thread and event loop.

    Args:
        options: Say which backend.
        scorer: A backend to use instead.
    """

    def __init__(self, options: RerankerOptions, scorer: Scorer | None) -> None:
        self._options = options
        self._custom_scorer = scorer
        # Making the judge imports torch, which takes seconds and must not be forked in the middle.
        self._making = ForkGuard()
        self._judge: Judge | None = None
        self._worker = Worker("qwen3-rerank")
        self._splitter = Worker("qwen3-rerank-split")
        self.is_closed = False

    @property
    def is_loaded(self) -> bool:
        """Whether a local model is in memory."""
        return self._judge is not None and self._judge.is_loaded

    @property
    def options(self) -> RerankerOptions:
        """The options that it was made with."""
        return self._options

    @property
    def scorer(self) -> Scorer:
        """The backend, made if need be."""
        return self._get_judge().scorer

    def run(
        self, requests: Sequence[ScoreRequest], windows: Windows | None = None
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Args:
            requests: Queries with their documents.
            windows: What to split long documents into; ``None`` leaves them to the backend.
        """
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        judge = self._get_judge()
        self._check_texts(requests)
        return run_here(self._running(judge, requests, windows))

    async def arun(
        self, requests: Sequence[ScoreRequest], windows: Windows | None = None
    ) -> list[list[Scored]]:
        """`run` without blocking the loop: awaits the backend if it can be, else uses a worker."""
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        judge = await self._aget_judge()
        self._check_texts(requests)
        if not judge.is_async:
            return await self._worker.arun(self._running(judge, requests, windows))
        if windows is None:
            return await judge.ajudge(requests)
        plan = await self.aplan(requests, windows)
        return plan.fold(await judge.ajudge(plan.requests))

    def _running(
        self, judge: Judge, requests: Sequence[ScoreRequest], windows: Windows | None
    ) -> Job[list[list[Scored]]]:
        if windows is None:
            return (yield from judge.judging(requests))
        plan = yield from planning(requests, windows, judge.meter())
        return plan.fold((yield from judge.judging(plan.requests)))

    async def aplan(
        self, requests: Sequence[ScoreRequest], windows: Windows, *, most: int | None = None
    ) -> WindowPlan:
        """Return the requests with their long documents split, for `arun` and what is before it.

        A thread of its own splits them, so that it need not wait for a forward in progress.

        Args:
            requests: Queries with their documents.
            windows: What to split long documents into.
            most: The most windows, as `plan_windows` has it.
        """
        judge = await self._aget_judge()
        await judge.aready()

        def planned() -> Job[WindowPlan]:  # the meter may have to load a model: not on the loop
            return (yield from planning(requests, windows, judge.meter(), most=most))

        return await self._splitter.arun(planned())

    def unload(self) -> None:
        """Free model and cache, after the work in progress; the next call loads the model again."""
        if self._judge is not None:
            self._judge.unload()

    def close(self) -> None:
        """Free everything, after the forward in progress. Closing twice is fine.

        Calls that are not done, and later ones, raise `ClosedError`.
        """
        self.is_closed = True
        self._worker.close()
        self._splitter.close()
        with self._making.held():
            judge = self._judge
        if judge is not None:
            judge.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        closer = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank-close")
        try:
            await asyncio.wrap_future(closer.submit(self.close))
        finally:
            closer.shutdown(wait=False)

    def _get_judge(self) -> Judge:
        with self._making.held():
            self._refuse_if_closed()
            if self._judge is None:
                if self._making.is_torn:
                    raise ForkedProcessError("its parent was importing the backend")
                custom = self._custom_scorer
                self._judge = Judge(
                    self._options,
                    make_scorer(self._options) if custom is None else custom,
                    owns_scorer=custom is None,
                )
            return self._judge

    async def _aget_judge(self) -> Judge:
        judge = self._judge
        return await self._worker.arun(in_one_step(self._get_judge)) if judge is None else judge

    def _check_texts(self, requests: Sequence[ScoreRequest]) -> None:
        """Raise `TextEncodingError` if one is not Unicode; a scorer of one's own may take it."""
        if self._custom_scorer is None:
            check_requests(requests)

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise ClosedError("the reranker is closed; make a new one (unload() only frees)")
