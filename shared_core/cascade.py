"""`Cascade`: a quick model orders all documents, and a better one the best of them anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from shared_core.errors import ConfigurationError, RerankError, ScoringError
from shared_core.images.content import Content
from shared_core.options import Instruction, OnError, RankingOptions
from shared_core.options.calls import WindowCallOptions
from shared_core.options.windows import WINDOW_OPTIONS, LongDocuments
from shared_core.pacing import Paced
from shared_core.ranking import rank
from shared_core.reranker import Reranker, changed_call_options
from shared_core.results import Judged
from shared_core.scoring import (
    Scored,
    ScoreRequest,
    StagedScorer,
    Staging,
    refusal_of_stages,
)
from shared_core.steps import Steps, arun, run, wait

if TYPE_CHECKING:
    from shared_core.check.report import CheckReport

logger = logging.getLogger("qwen3_rerank")

_OF_CALLS = WINDOW_OPTIONS | {"instruction"}


class Cascade(Reranker):
    """Two rerankers in the place of one: the second orders the best ``keep`` of the first anew.

    The documents that the second judged come first, in its order; the others follow in the order of
    the first. Each score is P(yes) of the model that `RankedDocument.stage` names, 1 or 2: scores
    of two models are not comparable. Fusion and diversity apply within each of the two parts.

    A query with no more than ``keep`` documents is judged by the second alone. A ``time_budget``
    bounds the second: the first always judges all documents. Each reranker has its own cache.

    Args:
        first: The quick one, which judges all documents.
        second: The better one.
        keep: How many documents of a query the second judges; copies of one count once.
        instruction: As for `Reranker`; both models are given the same.
        long_documents, window_tokens, window_overlap: As for `Reranker`, for both.
        on_error: ``"passthrough"``: where the second fails for now, the judgements of the first
            stay, with a warning; where the first does, as for `Reranker`.

    Raises:
        TypeError: ``first`` or ``second`` is no `Reranker`.
        ValueError: ``keep`` is no number from 1; or a reranker has options that belong to the
            cascade, or is itself a cascade.

    Examples:
        ```python
        reranker = Cascade(
            first=Reranker("Qwen/Qwen3-Reranker-0.6B"),
            keep=20,
            second=Reranker("Qwen/Qwen3-Reranker-4B"),
        )
        reranker.rerank(query, documents, top_k=5)
        ```
    """

    def __init__(
        self,
        *,
        first: Reranker,
        second: Reranker,
        keep: int = 20,
        instruction: Instruction | None = None,
        long_documents: LongDocuments = "truncate",
        window_tokens: int = 1024,
        window_overlap: int | None = None,
        on_error: OnError = "raise",
    ) -> None:
        super().__init__(
            scorer=CascadeScorer(first, second, keep),
            model=f"{first.options.model}, then {second.options.model}",
            instruction=instruction,
            long_documents=long_documents,
            window_tokens=window_tokens,
            window_overlap=window_overlap,
            on_error=on_error,
        )
        self.first, self.second, self.keep = first, second, keep

    def warm_up(self, *, instruction: Instruction | None = None) -> None:
        """Warm up both models, as `Reranker` does."""
        instruction = self.options.instruction if instruction is None else instruction
        self.first.warm_up(instruction=instruction)
        self.second.warm_up(instruction=instruction)

    async def awarm_up(self, *, instruction: Instruction | None = None) -> None:
        """`warm_up` without blocking the event loop."""
        instruction = self.options.instruction if instruction is None else instruction
        await self.first.awarm_up(instruction=instruction)
        await self.second.awarm_up(instruction=instruction)

    def check(self) -> CheckReport:
        """Refuse: what is checked is a model.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("a Cascade is of two models: check first and second, each alone")

    def close(self) -> None:
        """Close both rerankers. Later calls raise `ClosedError`; closing twice is fine."""
        super().close()
        self.first.close()
        self.second.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await super().aclose()
        await self.first.aclose()
        await self.second.aclose()

    def __repr__(self) -> str:
        return f"Cascade(first={self.first!r}, keep={self.keep}, second={self.second!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the options only, as those of the two rerankers are."""
        options = {name: getattr(self.options, name) for name in [*_OF_CALLS, "on_error"]}
        return {"first": self.first, "second": self.second, "keep": self.keep, **options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # rebuilt on purpose


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
