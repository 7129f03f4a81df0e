"""The service without HTTP: one reranker, its queue, its state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, TypeVar

from qwen3_rerank.service.batching import QueueFullError, Scheduler
from qwen3_rerank.service.body import PARSED_ASIDE_BYTES, Asked, BodyRoom, parse_body
from qwen3_rerank.service.failures import RefusedError, refusal_of
from qwen3_rerank.service.images import n_images, read_images
from qwen3_rerank.service.keys import Keys
from qwen3_rerank.service.metrics import Metrics
from qwen3_rerank.service.ranking import ranked
from qwen3_rerank.service.settings import ServiceSettings
from shared_core.calibration import Calibration
from shared_core.errors import (
    ConfigurationError,
    RerankError,
    ServerStatusError,
    UnsupportedByServerError,
)
from shared_core.evidence import EvidenceSearch
from shared_core.identity import device_kind
from shared_core.images.content import Content, has_images, text_of
from shared_core.inputs import rank_requests
from shared_core.options import Instruction, RankingOptions, resolve_instruction
from shared_core.options.calls import RankCallOptions, ranking_of
from shared_core.options.windows import Windows, windows_of
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.prompt.encodable import check_requests
from shared_core.prompt.unwrapping import task_of
from shared_core.reranker import Reranker
from shared_core.results import Ranking
from shared_core.scoring import Scored, ScoreRequest
from shared_core.staging import StagedScorer, refusal_of_stages
from shared_core.windows.folding import TooManyWindowsError, WindowPlan

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("qwen3_rerank.service")

# Of the queue, so that no key keeps the others out of it.
_SHARE_OF_A_KEY = 0.75

Result = TypeVar("Result")
State = Literal["loading", "ready", "failed", "draining", "stopped"]


def software_version() -> str:
    """Return the installed version."""
    try:
        return version("qwen3-rerank")
    except PackageNotFoundError:
        return "0"


class Service:
    """Scores concurrent requests, within limits.

    Args:
        settings: The settings of the service.
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
            self.takes_instruction = await self._finds_out_about_instructions()
        except RerankError as error:
            self.reason = str(error)
            logger.error("the model cannot be used: %s", error)
            if self.state == "loading":
                self.state = "failed"
                if self.on_failure is not None:
                    self.on_failure()
            return
        self._scheduler.budget = self._choose_budget()
        if self.state == "loading":
            self.state = "ready"
            self.metrics.ready.set(1)
        logger.info("ready after %.1f s: %s", time.monotonic() - started, self.model)

    async def _finds_out_about_instructions(self) -> bool:
        """Return whether requests may have an instruction: a server behind may take none."""
        if not self.settings.is_remote:
            return True
        try:
            await self.reranker.ascore("capital of France", ["Paris"], instruction="Find a city")
        except UnsupportedByServerError:
            return False
        except ServerStatusError as error:  # without one, it has just answered
            return error.status not in (400, 422, 500)
        except RerankError:
            return True
        return True

    def _choose_budget(self) -> int:
        """Return the tokens of one forward: the scorer's own default, by device."""
        if self.settings.max_batch_tokens is not None:
            return self.settings.max_batch_tokens
        if self.reranker.options.backend == "vllm":  # which batches what it is given
            return 65536
        device = device_kind(self.reranker)
        return 4096 if device in ("cpu", "mps") else 16384 if device == "cuda" else 65536

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
            requests: Queries with their documents, which share one turn in the queue.
            windows: The windows to split long documents into.
            key: Names the API key that asks: keys take turns.

        Raises:
            RefusedError: Limits are exceeded, the queue is full, or these texts cannot be scored.
        """
        self.check_limits(requests)
        return await self.submitted(requests, windows, key)

    def calibration(self, request: ScoreRequest, ranking: RankingOptions) -> Calibration | None:
        """Return the calibration of the scores of a request, if the service has one.

        Raises:
            RefusedError: It has none for this instruction, or the ranking needs one.
        """
        if self.settings.calibration is None and self.reranker.options.calibration is None:
            if ranking.min_probability is not None:
                raise RefusedError(
                    422, "min_probability: this service has no calibration; use score_threshold"
                )
            return None
        try:
            return self.reranker.calibration_of(task_of(request))
        except ConfigurationError as error:
            raise RefusedError(
                422,
                "the calibration of this service was fitted with another instruction or model, and "
                "probabilities would be wrong: leave out the instruction",
            ) from error
        except ValueError as error:
            raise refusal_of(error) from error

    async def evidence(
        self,
        requests: Sequence[ScoreRequest],
        rankings: Sequence[Ranking],
        ranking: RankingOptions,
        *,
        key: str | None = None,
    ) -> tuple[list[Ranking], list[Scored]]:
        """Return rankings with the evidence of their documents, and the judgements that it took.

        These are bounded as the texts are: each sentence is in six of them at most.

        Raises:
            RefusedError: The queue is full, or the sentences cannot be scored.
        """
        if not ranking.seeks_evidence:
            return list(rankings), []
        make = partial(EvidenceSearch, requests, rankings, self.settings.max_length)
        search = await self.aside(make)
        answers = await self.submitted(search.requests, None, key)
        return search.found(answers, ranking), [scored for answer in answers for scored in answer]

    async def submitted(
        self, requests: Sequence[ScoreRequest], windows: Windows | None, key: str | None
    ) -> list[list[Scored]]:
        """Return `score` of requests that are within the limits."""
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

    async def rank(
        self,
        query: str | Content,
        documents: Sequence[str | Content],
        **options: Unpack[RankCallOptions],
    ) -> Ranking:
        """Return what `Reranker.rerank` returns, through the queue. Raises `RefusedError`."""
        ranking, windows = ranking_of(options), windows_of(self.settings, options)
        async with self.accept():
            seen = await self.seen([self.request(query, documents, options.get("instruction"))])
            requests = rank_requests(seen, ranking, None, None)
            return (await ranked(self, requests, ranking, windows)).rankings[0]

    def check_limits(self, requests: Sequence[ScoreRequest]) -> None:
        """Raise `RefusedError` if a request has more or longer texts than it may have."""
        limits = self.settings
        n_documents = sum(len(request.documents) for request in requests)
        if n_documents > limits.max_documents or len(requests) > limits.max_documents:
            raise RefusedError(
                422,
                f"{max(n_documents, len(requests))} documents: this service takes "
                f"{limits.max_documents} in a request",
            )
        n_characters = 0
        for request in requests:
            for name, text in (
                ("query", text_of(request.query)),
                ("instruction", request.instruction),
            ):
                n_characters += len(text)
                if len(text) > limits.max_query_characters:
                    raise RefusedError(
                        422,
                        f"the {name} has {len(text)} characters: this service takes "
                        f"{limits.max_query_characters}",
                    )
            n_characters += sum(len(text_of(document)) for document in request.documents)
        if n_characters > limits.max_characters:
            raise RefusedError(
                422,
                f"the texts have {n_characters} characters: this service takes "
                f"{limits.max_characters} in a request",
            )
