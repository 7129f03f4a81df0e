"""Between facade and backend: each distinct document is scored once, known ones not at all."""

from __future__ import annotations

from collections.abc import Sequence

from shared_core.errors import RerankError, ScoringError
from shared_core.options import RerankerOptions
from shared_core.ranking import check_margins
from shared_core.score_cache import ScoreCache
from shared_core.scorers.base import ManyScorer, Scored, Scorer, ScoreRequest


class Judge:
    """Removes duplicates, asks the cache, and asks the backend for the rest.

    Args:
        options: Gives the cache its size and its key.
        scorer: The backend.
    """

    def __init__(self, options: RerankerOptions, scorer: Scorer) -> None:
        self._options = options
        self._scorer = scorer
        self._cache = ScoreCache(options.cache_size) if options.cache_size else None

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

    def judge(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Raises:
            RerankError: Of the backend, translated if it was a foreign exception.
        """
        known = [self._cached(request) for request in requests]
        missing = [
            ScoreRequest(
                request.query,
                request.instruction,
                [text for text in dict.fromkeys(request.documents) if text not in found],
            )
            for request, found in zip(requests, known, strict=True)
        ]
        asked = [index for index, request in enumerate(missing) if request.documents]
        answers = self._ask([missing[index] for index in asked]) if asked else []
        for index, answer in zip(asked, answers, strict=True):
            for document, scored in zip(missing[index].documents, answer, strict=True):
                known[index][document] = scored
                if self._cache is not None:
                    self._cache.put(self._key(missing[index], document), scored)
        return [
            [found[document] for document in request.documents]
            for request, found in zip(requests, known, strict=True)
        ]

    def _ask(self, requests: Sequence[ScoreRequest]) -> list[list[Scored]]:
        """Return the backend's answers, each checked to be one finite margin per document."""
        try:
            if isinstance(self._scorer, ManyScorer):
                answers = self._scorer.score_many(
                    requests, show_progress=self._options.show_progress
                )
            else:
                answers = [
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
            raise ScoringError(
                f"{type(self._scorer).__name__} failed: {type(error).__name__}: {error}"
            ) from error
        for request, answer in zip(requests, answers, strict=True):
            check_margins([one.logit for one in answer], len(request.documents))
        return answers

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
