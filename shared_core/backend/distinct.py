"""The texts left to score of some requests: each distinct text once, without cached ones."""

from __future__ import annotations

from collections.abc import Sequence

from shared_core.backend.score_cache import ScoreCache
from shared_core.images.content import Content, key_parts
from shared_core.prompt.unwrapping import unwrapped
from shared_core.scoring import Scored, ScoreRequest


class Distinct:
    """Requests, of which each distinct document is scored once, also over equal queries.

    Args:
        requests: The caller's requests; queries wrapped in the model's prompt are unwrapped.
        cache: Scores of earlier calls, and the place for those of this one; ``None`` is none.

    Attributes:
        missing: The requests to score: those with a document whose score is not known.
    """

    def __init__(self, requests: Sequence[ScoreRequest], cache: ScoreCache | None) -> None:
        self._requests = [unwrapped(request) for request in requests]
        self._cache = cache
        self._known: dict[_Query, dict[str | Content, Scored]] = {}
        wanted: dict[_Query, dict[str | Content, None]] = {}
        for request in self._requests:
            wanted.setdefault(_query(request), {}).update(dict.fromkeys(request.documents))
        self.missing: list[ScoreRequest] = []
        for (query, instruction), documents in wanted.items():
            self._known[query, instruction] = {}
            request = ScoreRequest(query, instruction, [*documents])
            if cache is not None:
                texts = [text for text in documents if not self._recall(cache, request, text)]
                request = ScoreRequest(query, instruction, texts)
            if request.documents:
                self.missing.append(request)

    def joined(self, answers: Sequence[Sequence[Scored]]) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order, and remember them.

        Args:
            answers: To ``missing``, one `Scored` per document.
        """
        for request, answer in zip(self.missing, answers, strict=True):
            for document, scored in zip(request.documents, answer, strict=True):
                self._known[_query(request)][document] = scored
                if self._cache is not None:
                    self._cache.put(_key(request, document), scored)
        return [
            [self._known[_query(request)][document] for document in request.documents]
            for request in self._requests
        ]

    def _recall(self, cache: ScoreCache, request: ScoreRequest, document: str | Content) -> bool:
        """Take the score of a document from the cache; return whether it was there."""
        scored = cache.get(_key(request, document))
        if scored is not None:
            self._known[_query(request)][document] = scored
        return scored is not None


_Query = tuple[str | Content, str]


def _query(request: ScoreRequest) -> _Query:
    return request.query, request.instruction


def _key(request: ScoreRequest, document: str | Content) -> bytes:
    return ScoreCache.key(request.instruction, *key_parts(request.query), *key_parts(document))
