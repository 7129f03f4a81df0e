"""The texts left to score of some requests: each distinct text once, without cached ones."""

from __future__ import annotations

from collections.abc import Sequence

from shared_core.backend.score_cache import ScoreCache
from shared_core.images.content import Content, key_parts
from shared_core.prompt.unwrapping import unwrapped
from shared_core.scoring import Scored, ScoreRequest


class Distinct:
    """Requests, of which each distinct document is scored once.

    Args:
        requests: The caller's requests; queries wrapped in the model's prompt are unwrapped.
        cache: Scores of earlier calls, and the place for those of this one; ``None`` is none.

    Attributes:
        missing: The requests to score: those with a document whose score is not known.
    """

    def __init__(self, requests: Sequence[ScoreRequest], cache: ScoreCache | None) -> None:
        self._requests = [unwrapped(request) for request in requests]
        self._cache = cache
        self._known: list[dict[str | Content, Scored]] = [{} for _ in requests]
        self._places: list[int] = []
        self.missing: list[ScoreRequest] = []
        for place, request in enumerate(self._requests):
            texts = list(dict.fromkeys(request.documents))
            if cache is not None:
                texts = [text for text in texts if not self._recall(cache, place, text)]
            if texts:
                self._places.append(place)
                self.missing.append(ScoreRequest(request.query, request.instruction, texts))

    def joined(self, answers: Sequence[Sequence[Scored]]) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order, and remember them.

        Args:
            answers: To ``missing``, one `Scored` per document.
        """
        for place, request, answer in zip(self._places, self.missing, answers, strict=True):
            for document, scored in zip(request.documents, answer, strict=True):
                self._known[place][document] = scored
                if self._cache is not None:
                    self._cache.put(self._key(place, document), scored)
        return [
            [known[document] for document in request.documents]
            for request, known in zip(self._requests, self._known, strict=True)
        ]

    def _recall(self, cache: ScoreCache, place: int, document: str | Content) -> bool:
        """Take the score of a document from the cache; return whether it was there."""
        scored = cache.get(self._key(place, document))
        if scored is not None:
            self._known[place][document] = scored
        return scored is not None

    def _key(self, place: int, document: str | Content) -> bytes:
        request = self._requests[place]
        return ScoreCache.key(request.instruction, *key_parts(request.query), *key_parts(document))
