"""Between facade and backend: each distinct document is scored once, known ones not at all."""

from __future__ import annotations

from collections.abc import Sequence

from shared_core.errors import RerankError, ScoringError
from shared_core.long_documents.meters import TokenMeter, make_meter
from shared_core.options import RerankerOptions
from shared_core.ranking import check_margins
from shared_core.score_cache import ScoreCache
from shared_core.scorers.base import AsyncScorer, ManyScorer, Scored, Scorer, ScoreRequest
from shared_core.unwrapping import unwrapped


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

    @property
    def scorer(self) -> Scorer:
        """The backend."""
        return self._scorer

    @property
    def is_loaded(self) -> bool:
        """Whether the backend holds a model in memory."""
        return bool(getattr(self._scorer, "is_loaded", False))

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
        """Free what the backend holds, and close it if it is ours."""
        self.unload()
        close = getattr(self._scorer, "close", None)
        if self._owns_scorer and callable(close):
            close()

    def judge(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Raises:
            RerankError: Of the backend, translated if it was a foreign exception.
        """
        requests = [unwrapped(request) for request in requests]
        known, missing = self._split(requests)
        answers = self._ask(missing) if missing else []
        return self._join(requests, known, missing, answers)

    async def ajudge(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """`judge`, awaiting an `AsyncScorer`."""
        requests = [unwrapped(request) for request in requests]
        known, missing = self._split(requests)
        answers: list[list[Scored]] = []
        if missing:
            assert isinstance(self._scorer, AsyncScorer)  # noqa: S101  # the caller asked is_async
            try:
                answers = await self._scorer.ascore_many(
                    list(missing.values()), show_progress=self._options.show_progress
                )
            except RerankError:
                raise
            except Exception as error:
                raise self._translated(error) from error
        return self._join(requests, known, missing, answers)

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
        """Return the answers, checked to be one finite margin per document, in input order."""
        if len(answers) != len(missing):
            raise ScoringError(f"the scorer answered {len(answers)} of {len(missing)} queries")
        for (index, request), answer in zip(missing.items(), answers, strict=True):
            check_margins([one.logit for one in answer], len(request.documents))
            for document, scored in zip(request.documents, answer, strict=True):
                known[index][document] = scored
                if self._cache is not None:
                    self._cache.put(self._key(request, document), scored)
        return [
            [found[document] for document in request.documents]
            for request, found in zip(requests, known, strict=True)
        ]

    def _ask(self, missing: dict[int, ScoreRequest]) -> list[list[Scored]]:
        """Return the backend's answers."""
        requests = list(missing.values())
        try:
            if isinstance(self._scorer, ManyScorer):
                return self._scorer.score_many(requests, show_progress=self._options.show_progress)
            return [
                [
                    Scored(float(margin))
                    for margin in self._scorer.score(
                        request.query, request.documents, instruction=request.instruction
                    )
                ]
                for request in requests
            ]
        except RerankError:
            raise
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> RerankError:
        return ScoringError(
            f"{type(self._scorer).__name__} failed: {type(error).__name__}: {error}"
        )

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
