"""The service without HTTP: one reranker, its queue, its state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, TypeVar

from qwen3_rerank.service.batching import QueueFullError, Scheduler
from qwen3_rerank.service.body import PARSED_ASIDE_BYTES, Asked, BodyRoom, parse_body
from qwen3_rerank.service.failures import RefusedError, refusal_of
from qwen3_rerank.service.images import n_images, read_images
from qwen3_rerank.service.keys import Keys
from qwen3_rerank.service.loading import batch_tokens_of, software_version, takes_instructions
from qwen3_rerank.service.metrics import Metrics
from qwen3_rerank.service.settings import ServiceSettings
from shared_core.errors import RerankError
from shared_core.images.content import Content, has_images, text_of
from shared_core.options import Instruction, resolve_instruction
from shared_core.options.windows import Windows
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.prompt.encodable import check_requests
from shared_core.reranker import Reranker
from shared_core.scoring import Scored, ScoreRequest
from shared_core.staging import StagedScorer, refusal_of_stages
from shared_core.windows.folding import TooManyWindowsError, WindowPlan

logger = logging.getLogger("qwen3_rerank.service")

# Of the queue, so that no key keeps the others out of it.
_SHARE_OF_A_KEY = 0.75

Result = TypeVar("Result")
State = Literal["loading", "ready", "failed", "draining", "stopped"]


class Service:
    """Scores concurrent requests, within limits.

    Args:
        reranker: A reranker to use; ``None`` makes one of the settings, and closes it.
    """

    def __init__(self, settings: ServiceSettings, reranker: Reranker | None = None) -> None:
        if reranker is not None and isinstance(reranker.custom_scorer, StagedScorer):
            raise refusal_of_stages("the service scores the documents of a request in batches")
        self.settings = settings
        self.keys = Keys(settings.all_keys())
        self.owns_reranker = reranker is None
        self.reranker = Reranker.from_options(settings) if reranker is None else reranker
        self.version = software_version()
        self.model = settings.model_name
        self.metrics = Metrics(self.version, self.model)
        self.metrics.loaded.set_function(lambda: self.reranker.is_loaded)
        self.state: State = "loading"
        self.reason = ""
        self.on_failure: Callable[[], None] | None = None
        self.takes_instruction = True
        self.started = int(time.time())
        self._scheduler = Scheduler(
            partial(self.reranker.ajudge_many, long_documents="truncate"),
            self.metrics,
            wait=settings.batch_wait_ms / 1000,
            max_queue=settings.max_queue,
            max_documents=settings.max_queued_documents,
            parallel=settings.max_concurrency if settings.is_remote else 1,
        )
        self.bodies = BodyRoom(
            max(settings.max_queued_bytes, settings.max_body_bytes), self.metrics.body_bytes
        )
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank-parse")
        self._abandoned = asyncio.Event()
        self._active = 0
        self._splitting = 0
        self._refuses = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._loading: asyncio.Task[None] | None = None

    @property
    def batch_tokens(self) -> int:
        """The tokens that a batch is filled to."""
        return self._scheduler.budget

    def start(self) -> None:
        """Begin to score, and load the model meanwhile."""
        self._scheduler.start()
        self._loading = asyncio.get_running_loop().create_task(self._load())

    async def _load(self) -> None:
        started = time.monotonic()
        try:
            await self.reranker.awarm_up(instruction=DEFAULT_INSTRUCTION)
            self.takes_instruction = await takes_instructions(self.reranker)
        except RerankError as error:
            self.reason = str(error)
            logger.error("the model cannot be used: %s", error)
            if self.state == "loading":
                self.state = "failed"
                if self.on_failure is not None:
                    self.on_failure()
            return
        self._scheduler.budget = batch_tokens_of(self.reranker, self.settings)
        if self.state == "loading":
            self.state = "ready"
            self.metrics.ready.set(1)
        logger.info("ready after %.1f s: %s", time.monotonic() - started, self.model)

    def drain(self) -> None:
        """Announce the shutdown; accepted requests are still finished."""
        self.state = "draining"
        self.metrics.ready.set(0)

    def refuse(self) -> None:
        """Accept no more requests."""
        self._refuses = True

    async def until_idle(self) -> None:
        """Return when nothing accepted is unfinished."""
        await self._idle.wait()

    def abandon(self) -> None:
        """Refuse what was accepted and is not finished, too."""
        self._abandoned.set()

    async def until_abandoned(self) -> None:
        """Return when there is no time left for what was accepted."""
        await self._abandoned.wait()

    async def parsed(self, model: type[Asked], body: bytes) -> Asked:
        """Return a parsed body; a large body is parsed in a thread. Raises `RefusedError`."""
        parse = partial(parse_body, model, body, max_documents=self.settings.max_documents)
        if len(body) <= PARSED_ASIDE_BYTES:
            return parse()
        return await self.aside(parse)

    async def aside(self, work: Callable[[], Result]) -> Result:
        """Return the result of some work in a thread: what takes a while blocks nobody."""
        return await asyncio.get_running_loop().run_in_executor(self._parser, work)

    async def stop(self) -> None:
        """Free all resources."""
        self.drain()
        self.refuse()
        self.abandon()
        self._parser.shutdown(wait=False)
        self.state = "stopped"
        if self._loading is not None:
            self._loading.cancel()
        await self._scheduler.stop()
        if self.owns_reranker:
            await self.reranker.aclose()

    @asynccontextmanager
    async def accept(self) -> AsyncIterator[None]:
        """Hold a place among the accepted requests, which shutdown waits for.

        Raises:
            RefusedError: The service is about to end, or has no model.
        """
        if self._refuses:
            raise RefusedError(503, "the service is shutting down", headers={"Retry-After": "5"})
        if self.state == "failed":
            raise RefusedError(503, f"the model cannot be used: {self.reason}")
        self._active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    def request(
        self,
        query: str | Content,
        documents: Sequence[str | Content],
        instruction: Instruction | None,
    ) -> ScoreRequest:
        """Return the texts with the instruction in force.

        Raises:
            RefusedError: The query is blank, or resembles the model's prompt; or the server behind
                takes no instruction.
        """
        if not text_of(query).strip() and not has_images(query):
            raise RefusedError(422, "query is blank: there is nothing to judge against")
        try:
            task = resolve_instruction(instruction, self.settings.instruction, text_of(query))
        except (ValueError, TypeError) as error:
            raise refusal_of(error) from error
        if task != DEFAULT_INSTRUCTION and not self.takes_instruction:
            raise RefusedError(
                422, "the server behind this one takes no instruction: leave instruction out"
            )
        return ScoreRequest(query, task, documents)

    async def seen(self, requests: list[ScoreRequest]) -> list[ScoreRequest]:
        """Return requests with their images read.

        Raises:
            RefusedError: One cannot be, or the model reads text alone.
        """
        if not n_images(requests):
            return requests
        if not self.reranker.takes_images:
            raise RefusedError(
                422, f"{self.model} reads text alone, and there are images: send texts"
            )
        return await self.aside(partial(read_images, requests, self.settings))

    async def score(
        self,
        requests: Sequence[ScoreRequest],
        windows: Windows | None = None,
        *,
        key: str | None = None,
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request; others may share the forwards.

        Args:
            requests: Queries with their documents, within the limits; they share one turn in the
                queue.
            key: Names the API key that asks: keys take turns.

        Raises:
            RefusedError: The queue is full, or these texts cannot be scored.
        """
        share = _SHARE_OF_A_KEY if len(self.keys) > 1 else 1.0
        submit = partial(self._scheduler.submit, key=key, share=share)
        try:
            check_requests(requests)  # before they are cut into batches, which count anew
            if windows is None:
                return await submit(requests)
            plan = await self._planned(requests, windows)
            return plan.fold(await submit(plan.requests))
        except QueueFullError as error:
            raise RefusedError(
                429, str(error), headers={"Retry-After": str(error.retry_after)}
            ) from error
        except (RerankError, ValueError, TypeError) as error:
            raise refusal_of(error) from error

    async def _planned(self, requests: Sequence[ScoreRequest], windows: Windows) -> WindowPlan:
        """Return the requests with their long documents split, which are a load of their own.

        Raises:
            RefusedError: There are more windows than a request may have documents.
            QueueFullError: Too many requests are being split.
        """
        if self._splitting >= self.settings.max_queue:
            raise QueueFullError(1)
        self._splitting += 1
        most = self.settings.max_documents
        try:
            return await self.reranker.asplit(
                requests,
                most=most,
                long_documents="windows",
                window_tokens=windows.tokens,
                window_overlap=windows.overlap,
            )
        except TooManyWindowsError as error:
            raise RefusedError(
                422,
                f"{error} of {windows.tokens} tokens: this service takes {most} in a request; ask "
                "for longer ones (window_tokens), or truncate",
            ) from error
        finally:
            self._splitting -= 1
