"""`Candidates`: the documents that are scored, where a call bounds their number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from shared_core.images.content import Content
from shared_core.options import RankingOptions
from shared_core.results import RankedDocument, Ranking
from shared_core.scoring import RankRequest, Retrieved, Scored


class Candidates:
    """Requests, reduced to their first distinct documents.

    A further copy of a candidate is one, too: it gets the same score, and costs nothing.

    Args:
        requests: Queries with their documents, in the order of the retriever.
        most: The most distinct documents to score of each; ``None`` is all.

    Attributes:
        whole: The requests with all their documents.
        requests: The requests to score.
    """

    def __init__(self, requests: Sequence[RankRequest], most: int | None) -> None:
        self.whole = requests
        chosen = [set(list(dict.fromkeys(request.documents))[:most]) for request in requests]
        self._choose(chosen)

    def _choose(self, chosen: Sequence[Collection[str | Content]]) -> None:
        self._places = [
            [at for at, text in enumerate(request.documents) if text in texts]
            for request, texts in zip(self.whole, chosen, strict=True)
        ]
        self.requests = [
            _reduced(request, places)
            for request, places in zip(self.whole, self._places, strict=True)
        ]

    def reached(self, found: Sequence[Mapping[str | Content, Scored]]) -> list[list[Scored]]:
        """Leave out the documents that were not reached; return the judgements of the others.

        Args:
            found: By request, the judgements of the texts that were.
        """
        self._choose([texts.keys() for texts in found])
        return [
            [texts[text] for text in request.documents]
            for request, texts in zip(self.requests, found, strict=True)
        ]

    def completed(self, rankings: Sequence[Ranking], options: RankingOptions) -> list[Ranking]:
        """Return the rankings with the documents that were not scored behind, in input order.

        A threshold drops these, because nothing shows that they reach it, but ``min_docs`` of all.

        Args:
            rankings: Those of ``requests``.
            options: What was kept in them.
        """
        completed = []
        for request, places, ranking in zip(self.whole, self._places, rankings, strict=True):
            others = sorted(set(range(len(request.documents))).difference(places))
            if options.has_threshold:
                others = others[: max(0, options.min_docs - len(ranking))]
            found = [replace(document, index=places[document.index]) for document in ranking]
            found += [RankedDocument(at, None, None, request.documents[at]) for at in others]
            judged_all = len(places) == len(request.documents)
            # What was not judged may answer.
            answers = ranking.answers if judged_all else ranking.answers or None
            completed.append(Ranking(found[: options.top_k], ranking.no_answer, answers))
        return completed


def _reduced(request: RankRequest, places: Sequence[int]) -> RankRequest:
    """Return a request with the documents at these places alone."""
    scores, vectors = request.retrieved.scores, request.retrieved.embeddings
    retrieved = Retrieved(
        None if scores is None else [scores[at] for at in places],
        None if vectors is None else [vectors[at] for at in places],
    )
    documents = [request.documents[at] for at in places]
    return RankRequest(request.query, request.instruction, documents, retrieved)
