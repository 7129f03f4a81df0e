"""The life of a reranker: its backend is made on first use, once; its worker; its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shared_core.errors import ClosedError
from shared_core.judging import Judge
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
        self._executor: ThreadPoolExecutor | None = None
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

    def run(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order."""
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        return self._get_judge().judge(requests)

    async def arun(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """`run` without blocking the loop: awaits the backend if it can be, else uses a worker."""
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        judge = self._judge
        if judge is None:
            judge = await self._in_worker(self._get_judge)
        if judge.is_async:
            return await judge.ajudge(requests)
        return await self._in_worker(lambda: self.run(requests))

    def unload(self) -> None:
        """Free model and cache, after the work in progress; the next call loads the model again."""
        if self._judge is not None:
            self._judge.unload()

    def close(self) -> None:
        """Free everything. Later calls raise `ClosedError`; closing twice is fine."""
        with self._lock:
            self.is_closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
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

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise ClosedError("the reranker is closed; make a new one (unload() only frees)")

    async def _in_worker(self, call: Callable[[], Result]) -> Result:
        """Run a call on the reranker's own worker; cancelled while it waits, it never runs."""
        with self._lock:
            self._refuse_if_closed()
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank")
            future = self._executor.submit(call)
        return await asyncio.wrap_future(future)
