"""`Reranker`: the one facade that both adapters and the command line use."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from shared_core.errors import ClosedError, MissingDependencyError, RerankError
from shared_core.inputs import make_request, make_requests
from shared_core.judging import Judge
from shared_core.options import (
    DEFAULT_MODEL,
    Backend,
    Dtype,
    Hub,
    Instruction,
    OnError,
    RankingOptions,
    RerankerOptions,
)
from shared_core.ranking import check_margins, sigmoid
from shared_core.results import RankedDocument, passed_through, ranked_documents
from shared_core.scorers.base import Scored, Scorer, ScoreRequest

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

logger = logging.getLogger("qwen3_rerank")
Result = TypeVar("Result")


class Reranker:
    """Orders documents by the probability that Qwen3-Reranker answers "yes".

    Nothing is loaded before the first use; the model is then loaded once and shared by all threads
    and event loops. Async calls run on one worker of the reranker's own.

    Args:
        model: A hub name, a folder with the files of a checkpoint, or ``"tiny"``, the bundled
            demonstration model.
        backend: ``"auto"`` or ``"transformers"``.
        instruction: The task sentence of the prompt, or a function of the query that returns it.
            ``None`` is the model card's web-search one. English works best.
        device: ``"cuda"``, ``"cuda:1"``, ``"mps"``, ``"cpu"``; ``None`` takes the best one.
        dtype: ``"auto"`` is half precision where the device computes in it, else float32.
        max_length: The most tokens of a whole prompt. A longer document loses its end.
        max_batch_tokens: The most tokens in one forward; ``None`` chooses by device. Halved on
            out-of-memory.
        revision: The hub revision, a tag or a commit.
        cache_dir: Where the hub's files are kept; ``None`` is the hub library's default.
        local_files_only: Never ask the network.
        hub: Where names are looked up; ``"modelscope"`` needs the modelscope package.
        scorer: A backend of your own, instead of the model; see `shared_core.Scorer`.
        cache_size: How many scores to remember exactly; 0 remembers none.
        show_progress: Draw a bar over the forwards of long jobs.
        on_error: ``"passthrough"`` makes `rerank` return the input order unscored when scoring
            fails, with a warning and `RankedDocument.error` set. `score` always raises.

    Raises:
        ValueError: An option is out of range or unknown; the message names it.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        backend: Backend = "auto",
        instruction: Instruction | None = None,
        device: str | None = None,
        dtype: Dtype = "auto",
        max_length: int = 8192,
        max_batch_tokens: int | None = None,
        revision: str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        hub: Hub = "huggingface",
        scorer: Scorer | None = None,
        cache_size: int = 0,
        show_progress: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        self._options = RerankerOptions(
            model=model,
            backend=backend,
            instruction=instruction,
            device=device,
            dtype=dtype,
            max_length=max_length,
            max_batch_tokens=max_batch_tokens,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            hub=hub,
            cache_size=cache_size,
            show_progress=show_progress,
            on_error=on_error,
        )
        self._custom_scorer = scorer
        # Two locks: making the judge imports torch, which takes seconds, and an event loop that
        # only wants the executor must not wait for it.
        self._lock = threading.Lock()
        self._judge_lock = threading.Lock()
        self._judge: Judge | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._is_closed = False

    @classmethod
    def from_options(cls, options: RerankerOptions, *, scorer: Scorer | None = None) -> Self:
        """Return a reranker with these options; fields of subclasses are left aside."""
        fields = {name: getattr(options, name) for name in RerankerOptions.model_fields}
        return cls(scorer=scorer, **fields)

    @property
    def options(self) -> RerankerOptions:
        """The validated options, a copy."""
        return self._options.model_copy()

    @property
    def is_loaded(self) -> bool:
        """Whether a local model is in memory."""
        return self._judge is not None and self._judge.is_loaded

    def rerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        instruction: Instruction | None = None,
        score_threshold: float | None = None,
        min_docs: int = 0,
    ) -> list[RankedDocument]:
        """Return the documents that matter to the query, best first; ties keep the input order.

        Args:
            query: What is asked.
            documents: The texts to order. They are not changed.
            top_k: How many to keep at most; ``None`` keeps all.
            instruction: Overrides the reranker's for this call.
            score_threshold: Drop documents with a score below this, in [0, 1].
            min_docs: Keep this many of the best, whatever the threshold says.

        Raises:
            TypeError, ValueError: An argument is wrong; nothing was scored.
            RerankError: Scoring failed, unless ``on_error="passthrough"``.
        """
        ranking = RankingOptions(top_k=top_k, score_threshold=score_threshold, min_docs=min_docs)
        requests = [make_request(query, documents, instruction, self._options.instruction)]
        return self._rank_many(requests, ranking)[0]

    def rerank_many(
        self,
        queries: Iterable[str],
        document_lists: Iterable[Iterable[str]],
        *,
        top_k: int | None = None,
        instruction: Instruction | None = None,
        score_threshold: float | None = None,
        min_docs: int = 0,
    ) -> list[list[RankedDocument]]:
        """Return one ranking per query, as `rerank` would; queries share forwards.

        Args:
            queries: The queries.
            document_lists: The documents of each query, as many lists as queries.
            top_k, instruction, score_threshold, min_docs: As for `rerank`, for every query.
        """
        ranking = RankingOptions(top_k=top_k, score_threshold=score_threshold, min_docs=min_docs)
        requests = make_requests(queries, document_lists, instruction, self._options.instruction)
        return self._rank_many(requests, ranking)

    def score(
        self, query: str, documents: Iterable[str], *, instruction: Instruction | None = None
    ) -> list[float]:
        """Return P(yes) of every document, in input order. Always raises on failure."""
        return self._probabilities(
            make_request(query, documents, instruction, self._options.instruction)
        )

    async def arerank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        instruction: Instruction | None = None,
        score_threshold: float | None = None,
        min_docs: int = 0,
    ) -> list[RankedDocument]:
        """`rerank` without blocking the event loop."""
        ranking = RankingOptions(top_k=top_k, score_threshold=score_threshold, min_docs=min_docs)
        requests = [make_request(query, documents, instruction, self._options.instruction)]
        return (await self._in_worker(lambda: self._rank_many(requests, ranking)))[0]

    async def arerank_many(
        self,
        queries: Iterable[str],
        document_lists: Iterable[Iterable[str]],
        *,
        top_k: int | None = None,
        instruction: Instruction | None = None,
        score_threshold: float | None = None,
        min_docs: int = 0,
    ) -> list[list[RankedDocument]]:
        """`rerank_many` without blocking the event loop."""
        ranking = RankingOptions(top_k=top_k, score_threshold=score_threshold, min_docs=min_docs)
        requests = make_requests(queries, document_lists, instruction, self._options.instruction)
        return await self._in_worker(lambda: self._rank_many(requests, ranking))

    async def ascore(
        self, query: str, documents: Iterable[str], *, instruction: Instruction | None = None
    ) -> list[float]:
        """`score` without blocking the event loop."""
        request = make_request(query, documents, instruction, self._options.instruction)
        return await self._in_worker(lambda: self._probabilities(request))

    def unload(self) -> None:
        """Free model and cache, after the work in progress; the next call loads the model again."""
        if self._judge is not None:
            self._judge.unload()

    def close(self) -> None:
        """Free everything. Later calls raise `ClosedError`; closing twice is fine."""
        with self._lock:
            self._is_closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)
        self.unload()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        closer = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank-close")
        try:
            await asyncio.wrap_future(closer.submit(self.close))
        finally:
            closer.shutdown(wait=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "loaded" if self.is_loaded else "not loaded"
        return f"Reranker(model={self._options.model!r}, {state})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the options only: the copy loads the model itself, on its first use."""
        return {"options": self._options, "scorer": self._custom_scorer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        fields = {name: getattr(state["options"], name) for name in RerankerOptions.model_fields}
        self.__init__(scorer=state["scorer"], **fields)  # type: ignore[misc]  # rebuilt on purpose

    def _rank_many(
        self, requests: Sequence[ScoreRequest], ranking: RankingOptions
    ) -> list[list[RankedDocument]]:
        """Score and rank; with ``on_error="passthrough"`` a failing query spoils no other one."""
        try:
            return [
                ranked_documents(request.documents, scored, ranking)
                for request, scored in zip(requests, self._scored(requests), strict=True)
            ]
        except ClosedError:
            raise
        except RerankError as error:
            if self._options.on_error == "raise":
                raise
            if len(requests) > 1:
                return [self._rank_many([request], ranking)[0] for request in requests]
            logger.warning(
                "reranking failed, passing %d documents through unscored: %s",
                len(requests[0].documents),
                error,
            )
            return [passed_through(requests[0].documents, error, ranking)]

    def _probabilities(self, request: ScoreRequest) -> list[float]:
        margins = [one.logit for one in self._scored([request])[0]]
        check_margins(margins, len(request.documents))
        return [sigmoid(margin) for margin in margins]

    def _scored(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        self._refuse_if_closed()
        if not any(request.documents for request in requests):
            return [[] for _ in requests]
        with self._judge_lock:
            if self._judge is None:
                self._judge = Judge(self._options, self._custom_scorer or self._local_scorer())
        return self._judge.judge(requests)

    def _local_scorer(self) -> Scorer:
        try:
            from shared_core.scorers.transformers import TransformersScorer
        except ModuleNotFoundError as error:
            raise MissingDependencyError("scoring with a local model", "local") from error
        return TransformersScorer(self._options)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise ClosedError("the reranker is closed; make a new one (unload() only frees)")

    async def _in_worker(self, call: Callable[[], Result]) -> Result:
        """Run a call on the reranker's own worker; cancelled while it waits, it never runs."""
        with self._lock:
            self._refuse_if_closed()
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rerank")
            future = self._executor.submit(call)
        return await asyncio.wrap_future(future)
