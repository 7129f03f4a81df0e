"""`EvidenceSearch`: the part of each kept document that answers the query, by scoring its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared_core.images.content import has_images, text_of
from shared_core.options import RankingOptions
from shared_core.prompt.unwrapping import cut_in_front, unwrapped
from shared_core.ranking import sigmoid
from shared_core.results import Evidence, RankedDocument, Ranking
from shared_core.scoring import Scored, ScoreRequest
from shared_core.windows.meters import estimate_tokens
from shared_core.windows.sentences import Span
from shared_core.windows.units import units

MOST_UNITS = 3
"""The most sentences of a piece of evidence."""

LENGTH_COST = 0.3
"""What a further sentence has to add to the margin. Without, evidence is a tenth longer, and holds
the answer as often for its length (XQuAD, CMRC 2018 with the bundled model)."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """The sentences of one document, and the runs of them that are scored.

    Attributes:
        document: The text that they are of.
        spans: Their characters.
        runs: First and last sentence, the latter left out; short runs come first.
    """

    document: str
    spans: Sequence[Span]
    runs: Sequence[Span]

    def text(self, run: Span) -> str:
        """Return the text of a run of sentences."""
        return self.document[slice(*self.span(run))]

    def span(self, run: Span) -> Span:
        """Return the characters of a run of sentences."""
        first, last = run
        return self.spans[first][0], self.spans[last - 1][1]


class EvidenceSearch:
    """The search for evidence in the documents that rankings have kept.

    All runs of one to three sentences are scored, by the same prompt as the documents, in one
    request per query. The evidence is the run with the highest margin, less `LENGTH_COST` for every
    sentence but one.
    A document of a single sentence is its own evidence, and one that was judged by windows has it
    in the best of them.

    Args:
        requests: Queries with their documents.
        rankings: The rankings of their documents.
        max_length: The most tokens of a prompt. Where a document's end was cut, or nobody knows,
            sentences that may lie behind it are left out.

    Attributes:
        requests: What there is to score, one request per query.
    """

    def __init__(
        self,
        requests: Sequence[ScoreRequest],
        rankings: Sequence[Ranking],
        max_length: int,
    ) -> None:
        self._rankings = rankings
        self._max_length = max_length
        self._parts: list[list[_Parts | None]] = []
        self.requests: list[ScoreRequest] = []
        for request, ranking in zip(requests, rankings, strict=True):
            plain, cut = unwrapped(request), cut_in_front(request)
            texts = map(text_of, plain.documents)
            triples = zip(map(text_of, request.documents), texts, cut, strict=True)
            judged = [(whole, start, start + len(text)) for whole, text, start in triples]
            parts = [self._split(result, *judged[result.index]) for result in ranking]
            runs = [found.text(run) for found in parts if found for run in found.runs]
            self._parts.append(parts)
            self.requests.append(replace(plain, documents=runs))

    def found(self, answers: Sequence[Sequence[Scored]], options: RankingOptions) -> list[Ranking]:
        """Return the rankings with the evidence, and documents reduced to it if that is wanted.

        Args:
            answers: One `Scored` per document of each of ``requests``.
            options: Those of the rankings.
        """
        rankings = []
        for parts, ranking, answer in zip(self._parts, self._rankings, answers, strict=True):
            scored = iter(answer)
            documents = [
                _with_evidence(
                    result, found, [next(scored) for _ in found.runs] if found else [], options
                )
                for found, result in zip(parts, ranking, strict=True)
            ]
            rankings.append(ranking.with_documents(documents))
        return rankings

    def _split(self, result: RankedDocument, document: str, start: int, end: int) -> _Parts | None:
        """Return the parts of what was judged of a document; ``None`` of none, and of images."""
        if not result.scored or has_images(result.document):
            return None
        if result.window is not None:
            start, end = result.window
        spans = [(start + first, start + last) for first, last in units(document[start:end])]
        if result.truncated is not False:
            spans = self._before_cut(document, spans)
        if not spans:
            return None
        lengths = range(1, MOST_UNITS + 1) if len(spans) > 1 else ()
        runs = [
            (first, first + length)
            for length in lengths
            for first in range(len(spans) - length + 1)
        ]
        return _Parts(document, spans, runs)

    def _before_cut(self, document: str, spans: Sequence[Span]) -> list[Span]:
        """Return the first spans that a prompt has room for."""
        kept: list[Span] = []
        tokens = 0
        for start, end in spans:
            tokens += sum(estimate_tokens([document[start:end]]))
            if kept and tokens > self._max_length:
                break
            kept.append((start, end))
        return kept


def _with_evidence(
    result: RankedDocument,
    parts: _Parts | None,
    scored: Sequence[Scored],
    options: RankingOptions,
) -> RankedDocument:
    """Return a document with its evidence; as it is where it has none."""
    if parts is None or result.logit is None:
        return result
    best, margin = (0, 1), result.logit
    if scored:
        place = max(range(len(scored)), key=lambda at: _worth(parts.runs[at], scored[at]))
        best, margin = parts.runs[place], scored[place].logit
    around = parts.span((max(0, best[0] - 1), min(len(parts.spans), best[1] + 1)))
    start, end = parts.span(best)
    evidence = Evidence(start, end, parts.document[start:end], sigmoid(margin), around)
    if options.compress is None:
        return replace(result, evidence=evidence)
    return replace(result, evidence=evidence, document=parts.document[slice(*around)])


def _worth(run: Span, scored: Scored) -> tuple[int, float]:
    """Return what runs are compared by; the margins of two stages of a `Cascade` are not."""
    return scored.stage or 0, scored.logit - LENGTH_COST * (run[1] - run[0])
