"""Results of `Reranker`: `RankedDocument` and `Judged`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared_core.calibration import Calibration
from shared_core.diversity import by_embeddings, by_words, diversified
from shared_core.fusion import fuse_by_stage
from shared_core.images.content import Content, text_of, words_of
from shared_core.options import RankingOptions
from shared_core.ranking import check_margins, rank, sigmoid
from shared_core.scoring import Retrieved, Scored


@dataclass(frozen=True, slots=True)
class Judged(Scored):
    """The judgement of one document, as `Reranker.judge` returns it.

    Attributes:
        logit: The margin ``logit(yes) − logit(no)``.
        n_tokens: Tokens of the whole prompt it was judged in; ``None`` where that is unknown.
        truncated: Whether its end was cut to fit ``max_length``; ``None`` where that is unknown.
        window: Its best window, as the characters ``start … end``; ``None`` where it was judged
            whole. ``score``, ``logit`` and ``n_tokens`` are those of this window.
        total_tokens: Tokens of all prompts that its score took: those of every window, and
            ``n_tokens`` where it was judged whole; with a `Cascade`, those of both models.
        counted: A server's count for the request to it; the same object for all documents of that.
        stage: The model of a `Cascade` that judged it, 1 or 2; ``None`` without one.
        score: P(yes) in [0, 1], the sigmoid of ``logit``.
    """

    score: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", sigmoid(self.logit))


def judged(scored: Sequence[Scored]) -> list[Judged]:
    """Return the judgements in their public form."""
    return [
        Judged(
            one.logit,
            one.n_tokens,
            one.truncated,
            one.window,
            _total_tokens(one),
            one.counted,
            one.stage,
        )
        for one in scored
    ]


def _total_tokens(scored: Scored) -> int | None:
    is_plain = scored.window is None and scored.stage is None
    return scored.n_tokens if is_plain else scored.total_tokens


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sentences of a document that answer the query best.

    Attributes:
        start, end: Their characters ``start … end`` of the text that was given.
        text: These characters.
        score: P(yes) of them alone, in [0, 1].
        around: Characters likewise, with the sentence before and the one after.
    """

    start: int
    end: int
    text: str
    score: float
    around: tuple[int, int]

    @property
    def span(self) -> tuple[int, int]:
        """The characters ``start … end``."""
        return self.start, self.end

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"start", "end", "text", "score"}``, as metadata and replies have it."""
        return {"start": self.start, "end": self.end, "text": self.text, "score": self.score}


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One document of a ranking.

    Attributes:
        index: Its position in the input.
        score: P(yes) in [0, 1]; ``None`` if it was not scored.
        logit: The margin ``logit(yes) − logit(no)`` that the order follows; ``None`` likewise.
        document: The text or `Content`, as given; with ``return_window``, the text of its best
            window alone; with ``compress``, that of its evidence and the sentences next to it.
        n_tokens: Tokens of the whole prompt it was judged in; ``None`` where that is unknown.
        truncated: Whether its end was cut to fit ``max_length``; ``None`` where that is unknown.
        error: Why it was passed through unscored (``on_error="passthrough"``), else ``None``.
        window: Its best window, as the characters ``start … end`` of the text that was given;
            ``None`` where it was judged whole. ``score``, ``logit`` and ``n_tokens`` are those of
            this window; ``truncated`` is still whether anything was cut, which windows are not for.
        total_tokens: Tokens of all prompts that its score took: those of every window, and
            ``n_tokens`` where it was judged whole.
        fused_score: The value that the order follows with ``fusion``, comparable within this
            ranking alone; ``None`` without it.
        probability: The calibrated probability that it is right, in [0, 1]; ``None`` without a
            ``calibration``.
        evidence: The sentences that answer the query, with ``evidence``; else ``None``, as for a
            blank document and one that was not scored.
        stage: The model of a `Cascade` that judged it, 1 or 2; ``None`` without one.
    """

    index: int
    score: float | None
    logit: float | None
    document: str | Content
    n_tokens: int | None = None
    truncated: bool | None = None
    error: str | None = None
    window: tuple[int, int] | None = None
    total_tokens: int | None = None
    fused_score: float | None = None
    probability: float | None = None
    evidence: Evidence | None = None
    stage: int | None = None

    @property
    def scored(self) -> bool:
        """Whether it has a score: not if it was passed through, or was not asked for."""
        return self.score is not None

    @property
    def text(self) -> str:
        """The text of ``document``."""
        return text_of(self.document)


class Ranking(list[RankedDocument]):
    """The documents of one query that were kept, best first.

    Attributes:
        no_answer: The calibrated probability that none of the candidates is right, those that were
            not kept included; ``None`` without a ``calibration``.
        answers: Whether to take it that one of them is: not where ``no_answer`` is above the
            threshold of the calibration. ``None`` likewise, and where that is so of the documents
            that were scored, and others were not.
    """

    def __init__(
        self,
        documents: Iterable[RankedDocument] = (),
        no_answer: float | None = None,
        answers: bool | None = None,
    ) -> None:
        super().__init__(documents)
        self.no_answer = no_answer
        self.answers = answers

    def with_documents(self, documents: Iterable[RankedDocument]) -> Ranking:
        """Return a ranking of other documents that says the same."""
        return Ranking(documents, self.no_answer, self.answers)


def ranked_documents(
    documents: Sequence[str | Content],
    scored: Sequence[Scored],
    options: RankingOptions,
    retrieved: Retrieved = Retrieved(),  # noqa: B008  # it cannot change
    calibration: Calibration | None = None,
) -> Ranking:
    """Return the documents to keep, best first.

    Args:
        documents: The texts, or contents.
        scored: The judgements of the documents.
        options: The options of the ranking.
        retrieved: The retriever's scores and embeddings, if any.
        calibration: The calibration of the scores, if there is one.

    Raises:
        ScoringError: The margins are not one finite number per document.
    """
    margins = [one.logit for one in scored]
    check_margins(margins, len(documents))
    probabilities = no_answer = answers = None
    if calibration is not None:
        probabilities = [calibration.probability_of(margin) for margin in margins]
        distinct = dict(zip(documents, margins, strict=True))
        no_answer = calibration.no_answer_of(list(distinct.values()))
        answers = calibration.answers(no_answer)
    stages = [one.stage or 0 for one in scored]
    fused = None
    if options.fusion is not None:
        scores = retrieved.scores or [None] * len(margins)
        fused = fuse_by_stage(margins, scores, options.fusion, stages)
    kept = rank(
        margins,
        fused=fused,
        stages=stages,
        top_k=options.top_k if options.mmr is None else None,
        score_threshold=options.score_threshold,
        probabilities=probabilities,
        min_probability=options.min_probability,
        min_docs=options.min_docs,
    )
    if options.mmr is not None:
        vectors = retrieved.embeddings
        kept = diversified(
            kept,
            [sigmoid(margin) for margin in margins] if fused is None else _from_0_to_1(fused),
            by_words([*map(words_of, documents)]) if vectors is None else by_embeddings(vectors),
            weight=options.mmr,
            top_k=options.top_k,
            stages=stages,
        )
    found = [
        _ranked(
            index,
            documents[index],
            scored[index],
            options,
            fused=None if fused is None else fused[index],
            probability=None if probabilities is None else probabilities[index],
        )
        for index in kept
    ]
    return Ranking(found, no_answer, answers)


def passed_through(
    documents: Sequence[str | Content], error: Exception, options: RankingOptions
) -> Ranking:
    """Return the first ``top_k`` documents in input order, unscored and saying why.

    ``top_k`` still holds, since what comes next has room for that many; the threshold does not,
    since there is no score to hold it against.
    """
    reason = f"{type(error).__name__}: {error}"
    return Ranking(
        RankedDocument(index=index, score=None, logit=None, document=document, error=reason)
        for index, document in enumerate(documents[: options.top_k])
    )


def _from_0_to_1(values: Sequence[float]) -> list[float]:
    """Return values moved and scaled, so that the least is 0 and the largest 1."""
    least, largest = min(values, default=0.0), max(values, default=0.0)
    return [(value - least) / ((largest - least) or 1.0) for value in values]


def _ranked(
    index: int,
    document: str | Content,
    scored: Scored,
    options: RankingOptions,
    *,
    fused: float | None,
    probability: float | None,
) -> RankedDocument:
    window = scored.window
    if window is not None and options.return_window:
        document = text_of(document)[slice(*window)]
    return RankedDocument(
        index=index,
        score=sigmoid(scored.logit),
        logit=scored.logit,
        document=document,
        n_tokens=scored.n_tokens,
        truncated=scored.truncated,
        window=window,
        total_tokens=_total_tokens(scored),
        fused_score=fused,
        probability=probability,
        stage=scored.stage,
    )
