"""The remote scorer, which plans, sends and checks; sync methods wrap the async ones."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from tqdm.auto import tqdm

from shared_core.errors import ConfigurationError, ServerStatusError
from shared_core.forking import renew_in_children
from shared_core.images.content import size_of
from shared_core.options import RerankerOptions
from shared_core.scorers.remote.dialects.base import trait
from shared_core.scorers.remote.http import HttpSession, encoded
from shared_core.scorers.remote.loops import LoopThread
from shared_core.scorers.remote.planning import Chunk, Piece, plan_chunks
from shared_core.scorers.remote.probe import check_counted
from shared_core.scorers.remote.reading import read_scored
from shared_core.scorers.remote.setup import Setup, make_session, prepare
from shared_core.scoring import Scored, ScoreRequest, TokenMeter
from shared_core.windows.meters import CountingMeter, EncoderMeter, estimate_tokens

logger = logging.getLogger("qwen3_rerank")
Result = TypeVar("Result")
# Characters or token ids; with more, requests are made and replies read on a worker, so that no
# event loop waits: neither for one long call nor for a thousand short ones.
_LONG = 10_000
_WORKERS = 4  # so that a short call need not wait for a long one's texts


class RemoteScorer:
    """Scores by a server. The first call asks the server for its software and limits.

    Args:
        options: The address, how to speak, and the bounds.

    Raises:
        ConfigurationError: There is no such dialect.
    """

    is_loaded = False  # no model is in this process's memory

    def __init__(self, options: RerankerOptions) -> None:
        self._options = options
        self._session = make_session(options)
        self._thread = LoopThread("qwen3-rerank-http")
        self._setup: Setup | None = None
        self.renew()
        renew_in_children(self)

    def renew(self) -> None:
        """Forget the worker and the waiting calls, which are the parent process's."""
        self._lock = threading.Lock()
        self._preparing: dict[asyncio.AbstractEventLoop, asyncio.Task[Setup]] = {}
        self._worker: ThreadPoolExecutor | None = None

    @property
    def takes_images(self) -> bool:
        """Whether the server's model does. One that was not asked yet may, and refuses them."""
        return self._setup is None or self._setup.sees

    @property
    def session(self) -> HttpSession:
        """The HTTP session with the server."""
        return self._session

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine that uses this scorer, on its own event loop."""
        return self._thread.run(coroutine)

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        """Return the margin of each document, in input order. See `ascore_many`."""
        (scored,) = self.score_many([ScoreRequest(query, instruction, documents)])
        return [result.logit for result in scored]

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """`ascore_many` for a thread without an event loop."""
        return self._thread.run(self.ascore_many(requests, show_progress=show_progress))

    async def ascore_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Raises:
            ConfigurationError: The server cannot do what the options or the instruction ask for.
            ServerUnreachableError, ServerStatusError, InvalidReplyError: A request failed; those
                under way are cancelled.
        """
        setup = await self.aload()
        chunks = await self._planned(setup, requests)
        found: list[dict[int, Scored]] = [{} for _ in requests]
        total = sum(len(request.documents) for request in requests)
        with tqdm(total=total, desc="rerank", unit="doc", disable=not show_progress) as progress:

            async def run(number: int, chunk: Chunk) -> None:
                found[number].update(await self._scored(setup, chunk))
                progress.update(len(chunk.pieces))

            await _all_or_none([run(number, chunk) for number, chunk in chunks])
        return [
            [answers[index] for index in range(len(request.documents))]
            for request, answers in zip(requests, found, strict=True)
        ]

    def load(self) -> Setup:
        """`aload` for a thread without an event loop."""
        return self._setup or self._thread.run(self.aload())

    async def aload(self) -> Setup:
        """Return the settings for the server, asking it at most once per event loop."""
        if self._setup is not None:
            return self._setup
        loop = asyncio.get_running_loop()
        task = self._preparing.get(loop)
        if task is None:
            task = self._preparing[loop] = loop.create_task(self._prepare())
            task.add_done_callback(self._forget)
        # Shielded: it is shared, so that one caller's cancellation is not everybody's.
        self._setup = await asyncio.shield(task)
        logger.debug("%s: %s", self._setup.url, self._setup.template)
        return self._setup

    def token_meter(self) -> TokenMeter:
        """Return the token counter: the local tokenizer, else an estimate.

        For threads without an event loop; on one, await `aload` before.
        """
        setup = self.load()
        if setup.encoder is not None:
            return EncoderMeter(setup.encoder)
        return CountingMeter(estimate_tokens, setup.max_length, checks=True)

    async def _prepare(self) -> Setup:
        try:
            return await prepare(self._options, self._session, self._in_worker)
        except ConfigurationError as error:  # it may quote what the server says of itself
            error.args = tuple(map(self._session.redact, error.args))
            raise

    def _forget(self, task: asyncio.Task[Setup]) -> None:
        self._preparing.pop(task.get_loop(), None)
        if not task.cancelled():
            task.exception()  # seen, even if all that waited for it were cancelled

    def unload(self) -> None:
        """Forget the server's facts; the next call asks again."""
        self._setup = None

    def close(self) -> None:
        """Close all connections. Calls in progress fail with `ClosedError`."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if self._session.is_open:
            self._thread.run(self._session.aclose(here))
        self._thread.close()
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False)

    async def _planned(
        self, setup: Setup, requests: Sequence[ScoreRequest]
    ) -> list[tuple[int, Chunk]]:
        def plan() -> list[tuple[int, Chunk]]:
            return [
                (number, chunk)
                for number, request in enumerate(requests)
                for chunk in plan_chunks(setup, self._options.model, request)
            ]

        size = sum(size_of(document) for request in requests for document in request.documents)
        is_quick = setup.encoder is None and size <= _LONG and not setup.sees
        return plan() if is_quick else await self._in_worker(plan)

    async def _in_worker(self, call: Callable[[], Result]) -> Result:
        with self._lock:
            if self._worker is None:
                self._worker = ThreadPoolExecutor(
                    _WORKERS, thread_name_prefix="qwen3-rerank-encode"
                )
            future = self._worker.submit(call)
        return await asyncio.wrap_future(future)

    async def _unhurried(self, call: Callable[[], Result], size: int) -> Result:
        """Return a call's result; a long call runs on a worker."""
        return call() if size <= _LONG else await self._in_worker(call)

    async def _scored(self, setup: Setup, chunk: Chunk) -> dict[int, Scored]:
        """Return a chunk's scores by document; a chunk that is too large is halved."""
        dialect = setup.dialect
        content = await self._unhurried(
            lambda: encoded(dialect.build(chunk.batch)),
            len(chunk.batch.prefix) + sum(piece.size for piece in chunk.pieces),
        )
        try:
            reply = await self._session.post(setup.url, content, trait(dialect, "retried"))
        except ServerStatusError as error:
            if error.status != 413 or len(chunk.pieces) == 1:
                raise
            first, second = chunk.halves()
            return await self._scored(setup, first) | await self._scored(setup, second)
        answers = await self._unhurried(
            lambda: read_scored(reply, dialect, chunk.batch), len(reply.body)
        )
        if setup.counts_prompt:
            check_counted(setup.url, dialect, answers)
        return {
            piece.index: _completed(scored, piece)
            for piece, scored in zip(chunk.pieces, answers, strict=True)
        }


def _completed(scored: Scored, piece: Piece) -> Scored:
    """Return a server's answer with what is known here: the tokens, and whether it was cut."""
    n_tokens = scored.n_tokens if piece.n_tokens is None else piece.n_tokens
    is_known_here = piece.truncated or scored.truncated is None
    truncated = piece.truncated if is_known_here else scored.truncated
    return replace(scored, n_tokens=n_tokens, truncated=truncated)


async def _all_or_none(jobs: Sequence[Awaitable[None]]) -> None:
    """Await all tasks; if one fails or this is cancelled, cancel the rest before raising."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
