"""Between facade and backend: each distinct document is scored once, known ones not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shared_core.backend.answers import checked_answers, scored_of
from shared_core.backend.score_cache import ScoreCache
from shared_core.errors import ClosedError, RerankError, ScoringError
from shared_core.options import RerankerOptions
from shared_core.prompt.unwrapping import unwrapped
from shared_core.scoring import AsyncScorer, ManyScorer, Scored, Scorer, ScoreRequest
from shared_core.windows.meters import TokenMeter, make_meter
from shared_core.worker import Job, run_here


class Judge:
    """Removes duplicates, asks the cache, and asks the backend for the rest.

    Args:
        options: Gives the cache its size and its key.
        scorer: The backend.
        owns_scorer: Whether `close` closes it too.
    """

    def __init__(
        self, options: RerankerOptions, scorer: Scorer, *, owns_scorer: bool = False
    ) -> None:
        self._options = options
        self._scorer = scorer
        self._owns_scorer = owns_scorer
        self._cache = ScoreCache(options.cache_size) if options.cache_size else None
        self._is_closed = False

    @property
    def scorer(self) -> Scorer:
        """The backend."""
        return self._scorer

    @property
    def is_loaded(self) -> bool:
        """Whether the backend holds a model in memory."""
        return not self._is_closed and bool(getattr(self._scorer, "is_loaded", False))

    def unload(self) -> None:
        """Free the backend's model, if it can, and forget all scores."""
        if isinstance(self._scorer, ManyScorer):
            self._scorer.unload()
        if self._cache is not None:
            self._cache.clear()

    @property
    def is_async(self) -> bool:
        """Whether `ajudge` can be awaited."""
        return isinstance(self._scorer, AsyncScorer)

    def meter(self) -> TokenMeter:
        """Return what measures long documents; a backend that knows how is loaded for it."""
        return make_meter(self._scorer, self._options)

    async def aready(self) -> None:
        """Await what `meter` would block for, where the backend can be awaited."""
        prepared = getattr(self._scorer, "prepared", None)
        if hasattr(self._scorer, "token_meter") and callable(prepared):
            await prepared()

    def close(self) -> None:
        """Free what the backend holds, and close it if it is ours; later calls are refused."""
        self._is_closed = True
        close = getattr(self._scorer, "close", None)
        if self._owns_scorer and callable(close):
            close()
            if self._cache is not None:
                self._cache.clear()
        else:
            self.unload()

    def judge(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Raises:
            RerankError: Of the backend, translated if it was a foreign exception.
        """
        return run_here(self.judging(requests))

    def judging(self, requests: Sequence[ScoreRequest]) -> Job[list[list[Scored]]]:
        """Return `judge` as a job, which a backend that takes one query at a time has steps in."""
        requests = [unwrapped(request) for request in requests]
        known, missing = self._split(requests)
        answers: list[list[Scored]] = []
        if missing:
            answers = yield from self._ask(list(missing.values()))
        return self._join(requests, known, missing, answers)

    async def ajudge(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """`judge`, awaiting an `AsyncScorer`."""
        requests = [unwrapped(request) for request in requests]
        known, missing = self._split(requests)
        answers: list[list[Scored]] = []
        if missing:
            assert isinstance(self._scorer, AsyncScorer)  # noqa: S101  # the caller asked is_async
            asked = list(missing.values())
            with self._asking(asyncio.CancelledError, GeneratorExit):
                given = await self._scorer.ascore_many(
                    asked, show_progress=self._options.show_progress
                )
                answers = checked_answers(type(self._scorer).__name__, given, asked)
        return self._join(requests, known, missing, answers)

    def _ask(self, requests: Sequence[ScoreRequest]) -> Job[list[list[Scored]]]:
        """Return the backend's answers, which are what they should be."""
        name = type(self._scorer).__name__
        if isinstance(self._scorer, ManyScorer):
            with self._asking():
                given = self._scorer.score_many(requests, show_progress=self._options.show_progress)
                return checked_answers(name, given, requests)
        answers: list[list[Scored]] = []
        for request in requests:
            if answers:
                yield
            with self._asking():
                margins = self._scorer.score(
                    request.query, request.documents, instruction=request.instruction
                )
                answers.append(scored_of(name, margins, len(request.documents)))
        return answers

    @contextmanager
    def _asking(self, *passing: type[BaseException]) -> Iterator[None]:
        """Translate what the backend raises; it keeps nothing of a call that a close overtakes.

        Args:
            *passing: What is not translated, besides what ends a program.

        Raises:
            ClosedError: The reranker is closed.
            RerankError: Of the backend.
        """
        if self._is_closed:
            raise ClosedError("the reranker is closed; make a new one (unload() only frees)")
        try:
            yield
        except BaseException as error:
            if isinstance(error, (RerankError, KeyboardInterrupt, SystemExit, *passing)):
                raise
            raise ScoringError(
                f"{type(self._scorer).__name__} failed: {type(error).__name__}: {error}"
            ) from error
        finally:
            if self._is_closed and not self._owns_scorer:
                self.unload()

    def _split(
        self, requests: Sequence[ScoreRequest]
    ) -> tuple[list[dict[str, Scored]], dict[int, ScoreRequest]]:
        """Return what the cache knows of each request, and by index what is left to ask."""
        known = [self._cached(request) for request in requests]
        missing = {}
        for index, (request, found) in enumerate(zip(requests, known, strict=True)):
            left = [text for text in dict.fromkeys(request.documents) if text not in found]
            if left:
                missing[index] = ScoreRequest(request.query, request.instruction, left)
        return known, missing

    def _join(
        self,
        requests: Sequence[ScoreRequest],
        known: list[dict[str, Scored]],
        missing: dict[int, ScoreRequest],
        answers: Sequence[Sequence[Scored]],
    ) -> list[list[Scored]]:
        """Return the answers in input order, each distinct document's as often as it was given."""
        for (index, request), answer in zip(missing.items(), answers, strict=True):
            for document, scored in zip(request.documents, answer, strict=True):
                known[index][document] = scored
                if self._cache is not None:
                    self._cache.put(self._key(request, document), scored)
        return [
            [found[document] for document in request.documents]
            for request, found in zip(requests, known, strict=True)
        ]

    def _cached(self, request: ScoreRequest) -> dict[str, Scored]:
        if self._cache is None:
            return {}
        found = {
            document: self._cache.get(self._key(request, document))
            for document in dict.fromkeys(request.documents)
        }
        return {document: scored for document, scored in found.items() if scored is not None}

    def _key(self, request: ScoreRequest, document: str) -> bytes:
        options = self._options
        return ScoreCache.key(
            options.model, options.revision, request.instruction, request.query, document
        )
