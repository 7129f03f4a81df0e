"""The life of a reranker: its backend is made on first use, once; its worker; its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shared_core.errors import ClosedError
from shared_core.judging import Judge
from shared_core.long_documents.folding import WindowPlan, plan_windows
from shared_core.long_documents.options import Windows
from shared_core.options import RerankerOptions
from shared_core.scorers.base import Scored, Scorer, ScoreRequest
from shared_core.scorers.choose import make_scorer

Result = TypeVar("Result")


class Runner:
    """Runs requests on the backend of the options, from any thread and event loop.

    Args:
        options: Say which backend.
        scorer: A backend to use instead.
    """

    def __init__(self, options: RerankerOptions, scorer: Scorer | None) -> None:
        self._options = options
        self._custom_scorer = scorer
        # Two locks: making the judge imports torch, which takes seconds, and an event loop that
        # only wants the executor must not wait for it.
        self._lock = threading.Lock()
        self._judge_lock = threading.Lock()
        self._judge: Judge | None = None
        self._executors: dict[str, ThreadPoolExecutor] = {}
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
        if windows is None:
            return judge.judge(requests)
        plan = plan_windows(requests, windows, judge.meter())
        return plan.fold(judge.judge(plan.requests))

    async def arun(
        self, requests: Sequence[ScoreRequest], windows: Windows | None = None
    ) -> list[list[Scored]]:
        """`run` without blocking the loop: awaits the backend if it can be, else uses a worker."""
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        judge = await self._aget_judge()
        if not judge.is_async:
            return await self._in_worker(lambda: self.run(requests, windows))
        if windows is None:
            return await judge.ajudge(requests)
        plan = await self.aplan(requests, windows)
        return plan.fold(await judge.ajudge(plan.requests))

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
        return await self._in_worker(
            lambda: plan_windows(requests, windows, judge.meter(), most=most), "qwen3-rerank-split"
        )

    def unload(self) -> None:
        """Free model and cache, after the work in progress; the next call loads the model again."""
        if self._judge is not None:
            self._judge.unload()

    def close(self) -> None:
        """Free everything. Later calls raise `ClosedError`; closing twice is fine."""
        with self._lock:
            self.is_closed = True
            executors, self._executors = self._executors, {}
        for executor in executors.values():
            executor.shutdown(wait=True, cancel_futures=True)
        if self._judge is not None:
            self._judge.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        closer = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank-close")
        try:
            await asyncio.wrap_future(closer.submit(self.close))
        finally:
            closer.shutdown(wait=False)

    def _get_judge(self) -> Judge:
        with self._judge_lock:
            self._refuse_if_closed()
            if self._judge is None:
                custom = self._custom_scorer
                self._judge = Judge(
                    self._options,
                    make_scorer(self._options) if custom is None else custom,
                    owns_scorer=custom is None,
                )
            return self._judge

    async def _aget_judge(self) -> Judge:
        judge = self._judge
        return await self._in_worker(self._get_judge) if judge is None else judge

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise ClosedError("the reranker is closed; make a new one (unload() only frees)")

    async def _in_worker(self, call: Callable[[], Result], worker: str = "qwen3-rerank") -> Result:
        """Run a call on a worker of the reranker's own; cancelled while it waits, it never runs."""
        with self._lock:
            self._refuse_if_closed()
            if worker not in self._executors:
                self._executors[worker] = ThreadPoolExecutor(1, thread_name_prefix=worker)
            future = self._executors[worker].submit(call)
        return await asyncio.wrap_future(future)
