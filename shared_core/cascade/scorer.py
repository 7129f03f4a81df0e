"""`CascadeScorer`: what a `Cascade` scores with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic

from shared_core.errors import ConfigurationError, RerankError, ScoringError
from shared_core.images.content import Content
from shared_core.options import RankingOptions
from shared_core.options.calls import WindowCallOptions
from shared_core.pacing import Paced
from shared_core.ranking import rank
from shared_core.reranker import Reranker, changed_call_options
from shared_core.results import Judged
from shared_core.scoring import Scored, ScoreRequest
from shared_core.staging import StagedScorer, Staging, refusal_of_stages
from shared_core.steps import Steps, arun, run, wait

logger = logging.getLogger("qwen3_rerank")


class CascadeScorer:
    """The backend of a `Cascade`.

    Args:
        first: Judges all documents.
        second: Judges the best of them.
        keep: How many.

    Raises:
        TypeError, ValueError: As for `Cascade`.
    """

    takes_images = True  # each model refuses what it cannot see

    def __init__(self, first: Reranker, second: Reranker, keep: int) -> None:
        for name, reranker in (("first", first), ("second", second)):
            _check_stage(name, reranker)
        if first is second:
            raise ConfigurationError("first and second are the same reranker: expected two models")
        if isinstance(keep, bool) or not isinstance(keep, int):
            raise TypeError(f"keep must be a number of documents, got a {type(keep).__name__}")
        if keep < 1:
            raise ConfigurationError(f"keep={keep}: expected 1 or more documents")
        self.first, self.second, self.keep = first, second, keep
        self._has_warned = False

    @property
    def is_loaded(self) -> bool:
        """Whether a model of the two is in memory."""
        return self.first.is_loaded or self.second.is_loaded

    def load(self) -> None:
        """Load both."""
        self.first.load()
        self.second.load()

    async def aload(self) -> None:
        """`load` without blocking the event loop."""
        await self.first.aload()
        await self.second.aload()

    def unload(self) -> None:
        """Free both."""
        self.first.unload()
        self.second.unload()

    def check_ranking(self, ranking: RankingOptions) -> None:
        """Warn, once, if a ranking keeps more documents than the second model judges."""
        if ranking.top_k is not None and ranking.top_k > self.keep and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "top_k=%d is more than keep=%d of the Cascade: the last ones are in the order, and "
                "have the scores, of its first model",
                ranking.top_k,
                self.keep,
            )

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        """Refuse: a list of margins cannot say which model each is of.

        Raises:
            ConfigurationError: Always.
        """
        del query, documents, instruction
        raise refusal_of_stages("a list of margins does not say which is better")

    def score_staged(
        self, requests: Sequence[ScoreRequest], staging: Staging
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order, with its stage."""
        return run(self._judging(requests, staging))

    async def ascore_staged(
        self, requests: Sequence[ScoreRequest], staging: Staging
    ) -> list[list[Scored]]:
        """`score_staged` without blocking the event loop."""
        return await arun(self._judging(requests, staging))

    def _judging(
        self, requests: Sequence[ScoreRequest], staging: Staging
    ) -> Steps[list[list[Scored]]]:
        if staging.seconds is not None:  # loading is not what the budget is for
            yield from wait(self.first.load, self.first.aload)
            with _passing(staging):
                yield from wait(self.second.load, self.second.aload)
        began = monotonic()
        texts = [list(dict.fromkeys(request.documents)) for request in requests]
        # The judgements of the first are needed to choose by, or to fall back on.
        may_stay = staging.seconds is not None or staging.passes
        is_first = [not staging.by_last and (may_stay or len(some) > self.keep) for some in texts]
        wide = _with_documents(
            requests, [some if asked else [] for some, asked in zip(texts, is_first, strict=True)]
        )
        first = _by_text(wide, (yield from _asking(self.first, wide, staging)))
        kept = _with_documents(
            requests,
            [
                _best(judged, self.keep) if judged else some
                for judged, some in zip(first, texts, strict=True)
            ],
        )
        if staging.seconds is None:
            second = yield from self._whole(kept, staging)
        else:
            left = staging.seconds - (monotonic() - began)
            second = yield from self._paced(kept, staging, left)
        return [
            [_joined(before.get(text), after.get(text)) for text in request.documents]
            for request, before, after in zip(requests, first, second, strict=True)
        ]

    def _whole(
        self, requests: list[ScoreRequest], staging: Staging
    ) -> Steps[Sequence[Mapping[str | Content, Scored]]]:
        """Return the second's judgements by request and text; none of a request that fails."""
        try:
            answers = yield from _asking(self.second, requests, staging)
        except RerankError as error:
            _raise_unless_passing(error, staging)
            if len(requests) == 1:
                _warn(error)
                return [{}]
            found: list[Mapping[str | Content, Scored]] = []
            for request in requests:
                found += yield from self._whole([request], staging)
            return found
        return _by_text(requests, answers)

    def _paced(
        self, requests: list[ScoreRequest], staging: Staging, seconds: float
    ) -> Steps[Sequence[Mapping[str | Content, Scored]]]:
        """Return what there was time for, by request and text."""
        paced = Paced(requests, seconds)
        while seconds > 0 and (pack := paced.next()):
            try:
                answers = yield from _asking(self.second, pack, staging)
            except RerankError as error:  # noqa: PERF203  # each pack may fail by itself
                _raise_unless_passing(error, staging)
                paced.fail(error)
            else:
                paced.add(answers)
        for failure in paced.failed.values():
            _warn(failure)
        return paced.found


def _check_stage(name: str, reranker: Reranker) -> None:
    if not isinstance(reranker, Reranker):
        raise TypeError(f"{name} must be a Reranker, got a {type(reranker).__name__}")
    if isinstance(reranker.custom_scorer, StagedScorer):
        raise ConfigurationError(f"{name} is a Cascade itself: expected a reranker with one model")
    if reranker.options.calibration is not None:
        raise ConfigurationError(f"{name} has a calibration, which a Cascade cannot use")
    if names := changed_call_options(reranker):
        raise ConfigurationError(
            f"{name} has {', '.join(names)}, which go with every call: give them to the Cascade"
        )


def _with_documents(
    requests: Sequence[ScoreRequest], documents: Sequence[Sequence[str | Content]]
) -> list[ScoreRequest]:
    return [
        ScoreRequest(request.query, request.instruction, texts)
        for request, texts in zip(requests, documents, strict=True)
    ]


def _by_text(
    requests: Sequence[ScoreRequest], answers: Sequence[Sequence[Judged]]
) -> list[dict[str | Content, Judged]]:
    return [
        dict(zip(request.documents, answer, strict=True))
        for request, answer in zip(requests, answers, strict=True)
    ]


def _best(judged: Mapping[str | Content, Judged], keep: int) -> list[str | Content]:
    """Return the texts with the highest margins, best first."""
    texts = list(judged)
    return [texts[place] for place in rank([one.logit for one in judged.values()], top_k=keep)]


def _joined(before: Judged | None, after: Scored | None) -> Scored:
    """Return the judgement of the later stage, with the tokens of both.

    Args:
        before: The first's; ``None`` if it was not asked.
        after: The second's; ``None`` if it was not, or has failed.
    """
    last, stage = (before, 1) if after is None else (after, 2)
    if last is None:
        raise ScoringError("no model of the Cascade judged a document")
    tokens = [one.total_tokens for one in (before, after) if isinstance(one, Judged)]
    known = [count for count in tokens if count is not None]
    return Scored(
        last.logit,
        last.n_tokens,
        last.truncated,
        last.window,
        sum(known) if len(known) == len(tokens) else None,
        stage=stage,
    )


def _asking(
    reranker: Reranker, requests: list[ScoreRequest], staging: Staging
) -> Steps[list[list[Judged]]]:
    options: WindowCallOptions = {}
    if staging.windows is not None:
        options = {
            "long_documents": "windows",
            "window_tokens": staging.windows.tokens,
            "window_overlap": staging.windows.overlap,
        }
    return wait(
        partial(reranker.judge_many, requests, **options),
        partial(reranker.ajudge_many, requests, **options),
    )


@contextmanager
def _passing(staging: Staging) -> Iterator[None]:
    """Let a failure to load pass that may: it is said when the model is asked."""
    try:
        yield
    except RerankError as error:
        _raise_unless_passing(error, staging)


def _raise_unless_passing(error: RerankError, staging: Staging) -> None:
    if not staging.passes or error.is_permanent:
        raise error


def _warn(error: RerankError) -> None:
    logger.warning("the second model of the Cascade failed, the first's order stays: %s", error)
