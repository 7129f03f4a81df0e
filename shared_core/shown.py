"""What a ranking says of a document: its parts for the content, and notes for the metadata."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from shared_core.results import RankedDocument, Ranking
from shared_core.windows.sentences import Span

Cut = Literal["window", "evidence"] | None
"""What an adapter returns of a document: its best window, its evidence, or all."""

RETRIEVAL_SCORE_KEY = "retrieval_score"
ERROR_KEY = "rerank_error"
FUSED_KEY = "fused_score"
PROBABILITY_KEY = "probability"
NO_ANSWER_KEY = "no_answer"
STAGE_KEY = "rerank_stage"
SCORED_KEY = "rerank_scored"
WINDOW_KEY = "relevance_window"
EVIDENCE_KEY = "relevance_evidence"
STALE = frozenset(
    (FUSED_KEY, SCORED_KEY, ERROR_KEY, PROBABILITY_KEY, NO_ANSWER_KEY, EVIDENCE_KEY, STAGE_KEY)
)
"""Keys of metadata that an earlier ranking may have left, and that say nothing of this one."""


class ShownWindow(NamedTuple):
    """The characters ``start … end`` of a text, and their text."""

    start: int
    end: int
    text: str


def shown_window(content: str, judged: str, window: Span) -> ShownWindow | None:
    """Return the part of a document's content that lies in the best window.

    Adapters may judge a document by more than its content, such as metadata in front of it.

    Args:
        content: The document's content.
        judged: The text that it was judged by. Where the content, but for blanks around it, is no
            part of that, the window is one of this text.
        window: Characters of ``judged``.

    Returns:
        ``None`` if the window has nothing of the content.

    >>> shown_window("Tea is hot. Ice melts.", "title: Drinks. Tea is hot. Ice melts.", (0, 26))
    ShownWindow(start=0, end=11, text='Tea is hot.')
    """
    start, end = window
    part = content if content in judged else content.strip()
    offset = judged.rfind(part)
    if offset < 0:
        return ShownWindow(start, end, judged[start:end])
    offset -= content.find(part)
    start, end = max(0, start - offset), min(len(content), end - offset)
    return ShownWindow(start, end, content[start:end]) if start < end else None


class ShownParts:
    """The best window and the evidence of a ranked document, as parts of its content.

    Args:
        content: The document's content.
        judged: The text that it was judged by; see `shown_window`.
        ranked: Its place in the ranking.

    Attributes:
        window: The best window; ``None`` if it was judged whole, or by its metadata alone.
        evidence: ``{"start", "end", "text", "score"}``; ``None`` without, or in its metadata.
    """

    def __init__(self, content: str, judged: str, ranked: RankedDocument) -> None:
        found = ranked.evidence
        spans = (ranked.window, *((None, None) if found is None else (found.span, found.around)))
        self.window, evidence, self._around = [
            None if span is None else shown_window(content, judged, span) for span in spans
        ]
        self.evidence = (
            None
            if found is None or evidence is None
            else evidence._asdict() | {"score": found.score}
        )

    def kept(self, cut: Cut) -> ShownWindow | None:
        """Return what is left of the content; ``None`` is all of it."""
        if cut == "evidence":
            return self._around
        return self.window if cut == "window" else None


def notes_of(ranked: RankedDocument, ranking: Ranking, shown: ShownParts) -> dict[str, Any]:
    """Return what a ranking says of a document, for the metadata of its copy.

    - ``probability`` and ``no_answer`` are there with a ``calibration``: the probability that this
      document is right, and that none of the candidates is.
    - ``fused_score`` is what the order follows with ``fusion``.
    - ``rerank_scored`` is ``False`` for a document that was not scored. If it was passed through,
      ``rerank_error`` says why; it is behind ``max_candidates`` otherwise.
    - ``rerank_stage`` is the model of a `Cascade` that judged it, 1 or 2.
    - ``relevance_window`` are the characters of the best window, ``[start, end]``, of a document
      that was judged by windows. They are those of its content; only if that is no part of the
      text that it was judged by, they are those of that text.
    - ``relevance_evidence`` has the characters ``start`` and ``end`` of the evidence, counted as
      those of the window, its ``text`` and its ``score``.
    """
    window = shown.window
    notes = {
        ERROR_KEY: ranked.error,
        FUSED_KEY: ranked.fused_score,
        PROBABILITY_KEY: ranked.probability,
        NO_ANSWER_KEY: ranking.no_answer,
        STAGE_KEY: ranked.stage,
        SCORED_KEY: None if ranked.scored else False,
        WINDOW_KEY: None if window is None else [window.start, window.end],
        EVIDENCE_KEY: shown.evidence,
    }
    return {key: value for key, value in notes.items() if value is not None}
