"""What a ranking returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared_core.options import RankingOptions
from shared_core.ranking import check_margins, rank, sigmoid
from shared_core.scorers.base import Scored


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document in its place.

    Attributes:
        index: Its position in the input.
        score: P(yes) in [0, 1]; ``None`` if it was passed through unscored.
        logit: The margin ``logit(yes) − logit(no)`` that the order follows; ``None`` likewise.
        document: The text, as given.
        n_tokens: Tokens of the whole prompt it was judged in; ``None`` where that is unknown.
        truncated: Whether its end was cut to fit ``max_length``; ``None`` where that is unknown.
        error: Why it was passed through unscored (``on_error="passthrough"``), else ``None``.
    """

    index: int
    score: float | None
    logit: float | None
    document: str
    n_tokens: int | None = None
    truncated: bool | None = None
    error: str | None = None


def ranked_documents(
    documents: Sequence[str], scored: Sequence[Scored], options: RankingOptions
) -> list[RankedDocument]:
    """Return the documents to keep, best first.

    Raises:
        ScoringError: The margins are not one finite number per document.
    """
    margins = [one.logit for one in scored]
    check_margins(margins, len(documents))
    kept = rank(
        margins,
        top_k=options.top_k,
        score_threshold=options.score_threshold,
        min_docs=options.min_docs,
    )
    return [
        RankedDocument(
            index=index,
            score=sigmoid(margins[index]),
            logit=margins[index],
            document=documents[index],
            n_tokens=scored[index].n_tokens,
            truncated=scored[index].truncated,
        )
        for index in kept
    ]


def passed_through(
    documents: Sequence[str], error: Exception, options: RankingOptions
) -> list[RankedDocument]:
    """Return the first ``top_k`` documents in input order, unscored and saying why.

    ``top_k`` still holds, since what comes next has room for that many; the threshold does not,
    since there is no score to hold it against.
    """
    reason = f"{type(error).__name__}: {error}"
    return [
        RankedDocument(index=index, score=None, logit=None, document=document, error=reason)
        for index, document in enumerate(documents[: options.top_k])
    ]
