"""`Reranker`: the one facade that both adapters and the command line use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared_core.backend.ranker import Ranker
from shared_core.backend.running import Runner
from shared_core.errors import ConfigurationError
from shared_core.images.content import Content
from shared_core.inputs import (
    checked_pairs,
    checked_requests,
    grouped,
    make_requests,
    rank_requests,
)
from shared_core.options import (
    DEFAULT_MODEL,
    Backend,
    Dtype,
    Hub,
    Instruction,
    OnError,
    Quantize,
    RankingOptions,
    RerankerOptions,
    resolve_instruction,
)
from shared_core.options.calls import (
    CallOptions,
    RerankManyOptions,
    RerankOptions,
    SplitOptions,
    WindowCallOptions,
    ranking_of,
    refuse_unknown,
    takes,
)
from shared_core.options.documenting import documented
from shared_core.options.remote import TemplateOption
from shared_core.options.windows import WINDOW_OPTIONS, LongDocuments, Windows, windows_of
from shared_core.prompt.encodable import check_pairs
from shared_core.results import Judged, Ranking, judged
from shared_core.scoring import (
    Pair,
    Scorer,
    ScoreRequest,
)
from shared_core.staging import StagedScorer, refusal_of_stages
from shared_core.steps import Steps, arun, run
from shared_core.windows.folding import WindowPlan

if TYPE_CHECKING:
    from pydantic import SecretStr
    from typing_extensions import Never, Self, Unpack

    from shared_core.calibration import Calibration
    from shared_core.check.report import CheckReport

_LISTS = ("retriever_scores", "embeddings")


@documented(RerankerOptions)
class Reranker:
    """Orders documents by the probability that Qwen3-Reranker answers "yes".

    Nothing is loaded before the first use; the model is then loaded once and shared by all threads
    and event loops. Async calls run on one worker of the reranker's own.

    The arguments are those of `RerankerOptions`: ``help(Reranker)`` and the README describe them.

    Args:
        scorer: A backend of your own, instead of the model; see `shared_core.Scorer`.

    Raises:
        ValueError: An option is out of range; the message names it.
        TypeError: There is no such option; the message names the nearest.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        backend: Backend = "auto",
        instruction: Instruction | None = None,
        device: str | None = None,
        dtype: Dtype = "auto",
        quantize: Quantize | None = None,
        max_length: int = 8192,
        max_batch_tokens: int | None = None,
        threads: int | None = None,
        unload_after: float | None = None,
        image_cache_size: int = 0,
        adapter: str | None = None,
        adapter_revision: str | None = None,
        answers: tuple[str, str] = ("yes", "no"),
        revision: str | None = None,
        calibration: str | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        hub: Hub = "huggingface",
        engine_args: Mapping[str, Any] | None = None,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        dialect: Any = "auto",
        template: TemplateOption = "auto",
        tokenizer: str | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        total_timeout: float = 180.0,
        max_retries: int = 3,
        max_concurrency: int = 8,
        requests_per_second: float | None = None,
        headers: Mapping[str, str | SecretStr] | None = None,
        scorer: Scorer | None = None,
        long_documents: LongDocuments = "truncate",
        window_tokens: int = 1024,
        window_overlap: int | None = None,
        cache_size: int = 0,
        show_progress: bool = False,
        on_error: OnError = "raise",
        **unknown: Never,
    ) -> None:
        given = locals()
        refuse_unknown("Reranker", unknown)
        self._options = RerankerOptions(
            **{name: given[name] for name in RerankerOptions.model_fields}
        )
        self._runner = Runner(self._options, _own(scorer))
        self._ranker = Ranker(self._runner)

    @classmethod
    def from_options(cls, options: RerankerOptions, *, scorer: Scorer | None = None) -> Self:
        """Return a reranker with these options; fields of subclasses are left aside."""
        fields = {name: getattr(options, name) for name in RerankerOptions.model_fields}
        return cls(scorer=scorer, **fields)

    @property
    def options(self) -> RerankerOptions:
        """The validated options, a copy."""
        return self._options.model_copy()

    @property
    def custom_scorer(self) -> Scorer | None:
        """The backend of your own that it was given, if any."""
        return self._runner.custom_scorer

    @property
    def scorer(self) -> Scorer:
        """The backend in use. Asking for it makes it, which loads no model yet."""
        return self._runner.scorer

    @property
    def is_loaded(self) -> bool:
        """Whether a local model is in memory."""
        return self._runner.is_loaded

    @property
    def takes_images(self) -> bool:
        """Whether the backend takes a `Content` with images, as far as it knows before loading."""
        return self._runner.takes_images

    @takes(RerankOptions)
    @documented(RankingOptions)
    def rerank(
        self,
        query: str | Content,
        documents: Iterable[str | Content],
        **options: Unpack[RerankOptions],
    ) -> Ranking:
        """Return the documents in order of relevance, best first; ties keep the input order.

        With a ``calibration``, the ranking says how probable it is that none of them answers. What
        is behind ``max_candidates`` or a ``time_budget`` follows unscored, as far as ``top_k`` has
        room; a threshold drops it. Copies of a document count once, and are scored once.

        Args:
            query: The search query: a text, or a `Content` with images.
            documents: The texts to order, or `Content` of texts and images. They are not changed.
            top_n: An alias of ``top_k``.
            instruction: Overrides the reranker's for this call.
            retriever_scores: The retriever's score of every document, larger is better, ``None``
                where it has none; left out, the order of ``documents`` counts.
            embeddings: A vector per document, to tell similar ones by; left out, shared words tell.
            long_documents, window_tokens, window_overlap: Override the reranker's for this call.

        Raises:
            TypeError, ValueError: An argument is wrong; nothing was scored.
            RerankError: Scoring failed, unless ``on_error="passthrough"``.
        """
        (ranking,) = run(self._ranking("rerank", [query], [documents], _of_one(options)))
        return ranking

    @takes(RerankOptions)
    async def arerank(
        self,
        query: str | Content,
        documents: Iterable[str | Content],
        **options: Unpack[RerankOptions],
    ) -> Ranking:
        """`rerank` without blocking the event loop."""
        steps = self._ranking("arerank", [query], [documents], _of_one(options))
        (ranking,) = await arun(steps)
        return ranking

    @takes(RerankManyOptions)
    def rerank_many(
        self,
        queries: Iterable[str | Content],
        document_lists: Iterable[Iterable[str | Content]],
        **options: Unpack[RerankManyOptions],
    ) -> list[Ranking]:
        """Return one ranking per query, as `rerank` does; queries share forward passes.

        Args:
            queries: The queries.
            document_lists: The documents of each query, as many lists as queries.
            retriever_scores: A list per query, or ``None`` in its place.
            embeddings: The vectors of each query's documents, or ``None`` in their place.
            **options: As for `rerank`, for every query.
        """
        return run(self._ranking("rerank_many", queries, document_lists, options))

    @takes(RerankManyOptions)
    async def arerank_many(
        self,
        queries: Iterable[str | Content],
        document_lists: Iterable[Iterable[str | Content]],
        **options: Unpack[RerankManyOptions],
    ) -> list[Ranking]:
        """`rerank_many` without blocking the event loop."""
        return await arun(self._ranking("arerank_many", queries, document_lists, options))

    @takes(CallOptions)
    def score(
        self,
        query: str | Content,
        documents: Iterable[str | Content],
        **options: Unpack[CallOptions],
    ) -> list[float]:
        """Return P(yes) of every document, in input order. Always raises on failure."""
        self._refuse_stages()
        requests = self._requests([query], [documents], options)
        (answer,) = run(self._judging("score", requests, options))
        return [one.score for one in answer]

    @takes(CallOptions)
    async def ascore(
        self,
        query: str | Content,
        documents: Iterable[str | Content],
        **options: Unpack[CallOptions],
    ) -> list[float]:
        """`score` without blocking the event loop."""
        self._refuse_stages()
        requests = self._requests([query], [documents], options)
        (answer,) = await arun(self._judging("ascore", requests, options))
        return [one.score for one in answer]

    @takes(CallOptions)
    def judge(
        self,
        query: str | Content,
        documents: Iterable[str | Content],
        **options: Unpack[CallOptions],
    ) -> list[Judged]:
        """Return one `Judged` per document, in input order. Always raises on failure.

        Args:
            query: The search query.
            documents: The texts or contents to judge. They are not changed.
            instruction: Overrides the reranker's for this call.
            long_documents, window_tokens, window_overlap: Override the reranker's for this call.

        Raises:
            TypeError, ValueError: An argument is wrong; nothing was scored.
            RerankError: Scoring failed, whatever ``on_error`` says.
        """
        requests = self._requests([query], [documents], options)
        (answer,) = run(self._judging("judge", requests, options))
        return answer

    @takes(CallOptions)
    async def ajudge(
        self,
        query: str | Content,
        documents: Iterable[str | Content],
        **options: Unpack[CallOptions],
    ) -> list[Judged]:
        """`judge` without blocking the event loop."""
        requests = self._requests([query], [documents], options)
        (answer,) = await arun(self._judging("ajudge", requests, options))
        return answer

    @takes(WindowCallOptions)
    def judge_many(
        self, requests: Iterable[ScoreRequest], **options: Unpack[WindowCallOptions]
    ) -> list[list[Judged]]:
        """Return what `judge` returns, for each request; queries share forward passes.

        Args:
            requests: Queries with their documents, each with an instruction of its own.
            **options: ``long_documents``, ``window_tokens`` and ``window_overlap``, as for `judge`.
        """
        checked = checked_requests(requests, self._options.instruction)
        return run(self._judging("judge_many", checked, options))

    @takes(WindowCallOptions)
    async def ajudge_many(
        self, requests: Iterable[ScoreRequest], **options: Unpack[WindowCallOptions]
    ) -> list[list[Judged]]:
        """`judge_many` without blocking the event loop."""
        checked = checked_requests(requests, self._options.instruction)
        return await arun(self._judging("ajudge_many", checked, options))

    @takes(CallOptions)
    def score_pairs(self, pairs: Iterable[Pair], **options: Unpack[CallOptions]) -> list[Judged]:
        """Return one `Judged` per (query, document) pair, in input order.

        Pairs of the same query share its computation, and all pairs share forwards.

        Args:
            pairs: Queries, each with one document.
            **options: As for `judge`, for every pair.
        """
        return run(self._judging_pairs("score_pairs", pairs, options))

    @takes(CallOptions)
    async def ascore_pairs(
        self, pairs: Iterable[Pair], **options: Unpack[CallOptions]
    ) -> list[Judged]:
        """`score_pairs` without blocking the event loop."""
        return await arun(self._judging_pairs("ascore_pairs", pairs, options))

    @takes(SplitOptions)
    async def asplit(
        self, requests: Iterable[ScoreRequest], **options: Unpack[SplitOptions]
    ) -> WindowPlan:
        """Return the requests with their long documents split into windows, without scoring them.

        For those who queue work: `WindowPlan.requests` is what there is to score, with
        ``long_documents="truncate"``, and `WindowPlan.fold` makes one judgement per document of it.

        Args:
            requests: Queries with their documents.
            most: The most windows, where a document that is not split is one; ``None`` is no bound.
            long_documents, window_tokens, window_overlap: Override the reranker's for this call.

        Raises:
            TooManyWindowsError: There are more than ``most``.
            RerankError: The texts cannot be tokenised, or the backend cannot be used.
        """
        windows = self._windows("asplit", options)
        checked = checked_requests(requests, self._options.instruction)
        if windows is None:
            return WindowPlan(checked, [[None] * len(request.documents) for request in checked])
        return await arun(self._runner.planning(checked, windows, most=options.get("most")))

    def calibration_of(self, instruction: str | None = None) -> Calibration | None:
        """Return the calibration of scores with an instruction; ``None`` without that option.

        Args:
            instruction: Of the calls; ``None`` is that of the reranker.

        Raises:
            ConfigurationError: The file has none for this model, or none for this instruction.
        """
        calibrations = self._runner.calibrations
        if calibrations is None:
            return None
        return calibrations.of(resolve_instruction(instruction, self._options.instruction, ""))

    def check(self) -> CheckReport:
        """Return whether the scores can be trusted, and what is wrong if they cannot.

        Looks for all that is known to go wrong with Qwen3-Reranker and its servers: no template,
        two, another one, an ignored instruction, a head that was not loaded, an order close to
        random. A model is loaded, a server is asked a few dozen short questions.
        """
        from shared_core.check.run import check

        return check(self)

    def load(self) -> None:
        """Load the model, or ask the server what it is, so that no call has to wait for it."""
        run(self._runner.loading())

    async def aload(self) -> None:
        """`load` without blocking the event loop."""
        await arun(self._runner.loading())

    def warm_up(self, *, instruction: Instruction | None = None) -> None:
        """Load, and score a few passages of typical length, so that the first user need not wait.

        A server is asked about a single one.

        Args:
            instruction: Overrides the reranker's.

        Raises:
            RerankError: The model cannot be loaded, or does not score.
        """
        self.load()
        run(self._runner.judging([self._warm_up_request(instruction)]))

    async def awarm_up(self, *, instruction: Instruction | None = None) -> None:
        """`warm_up` without blocking the event loop."""
        await self.aload()
        await arun(self._runner.judging([self._warm_up_request(instruction)]))

    def unload(self) -> None:
        """Free model and cache, after the work in progress; the next call loads the model again."""
        self._runner.unload()

    async def aunload(self) -> None:
        """`unload` without blocking the event loop."""
        await self._runner.aunload()

    def close(self) -> None:
        """Free everything. Later calls raise `ClosedError`; closing twice is fine."""
        self._runner.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await self._runner.aclose()

    def _windows(self, verb: str, options: Mapping[str, Any]) -> Windows | None:
        """Return a call's windows for long documents, after a look at all its options."""
        refuse_unknown(verb, options)
        return windows_of(self._options, options)

    def _refuse_stages(self) -> None:
        if isinstance(self.custom_scorer, StagedScorer):
            raise refusal_of_stages("bare scores and single pairs do not say which is better")

    def _requests(
        self,
        queries: Iterable[str | Content],
        document_lists: Iterable[Iterable[str | Content]],
        options: Mapping[str, Any],
    ) -> list[ScoreRequest]:
        instruction = options.get("instruction")
        return make_requests(queries, document_lists, instruction, self._options.instruction)

    def _ranking(
        self,
        verb: str,
        queries: Iterable[str | Content],
        document_lists: Iterable[Iterable[str | Content]],
        options: Mapping[str, Any],
    ) -> Steps[list[Ranking]]:
        windows, ranking = self._windows(verb, options), ranking_of(options)
        requests = self._requests(queries, document_lists, options)
        scores, vectors = options.get("retriever_scores"), options.get("embeddings")
        ranked = rank_requests(requests, ranking, scores, vectors)
        return self._ranker.ranking(ranked, ranking, windows)

    def _judging(
        self, verb: str, requests: Sequence[ScoreRequest], options: Mapping[str, Any]
    ) -> Steps[list[list[Judged]]]:
        windows = self._windows(verb, options)
        answers = yield from self._runner.judging(requests, windows)
        return list(map(judged, answers))

    def _judging_pairs(
        self, verb: str, pairs: Iterable[Pair], options: Mapping[str, Any]
    ) -> Steps[list[Judged]]:
        """Return the judgements of pairs in their own order; those of a query go together."""
        windows = self._windows(verb, options)
        read = yield from self._runner.reading_pairs(checked_pairs(pairs))
        self._refuse_stages()
        if self.custom_scorer is None:
            check_pairs(read)
        groups = grouped(read)
        documents = [[read[place][1] for place in places] for _, places in groups]
        requests = self._requests([query for query, _ in groups], documents, options)
        answers = yield from self._runner.judging(requests, windows)
        found = {
            place: scored
            for (_, places), answer in zip(groups, answers, strict=True)
            for place, scored in zip(places, answer, strict=True)
        }
        return judged([found[place] for place in range(len(found))])

    def _warm_up_request(self, instruction: Instruction | None) -> ScoreRequest:
        query, passage = "What is the capital of China?", "Beijing is the capital of China. "
        passages = [f"Passage {number}. {passage * 12}" for number in range(4)]
        task = resolve_instruction(instruction, self._options.instruction, query)
        return ScoreRequest(query, task, passages[:1] if self._options.is_remote else passages)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._runner.is_closed else "loaded" if self.is_loaded else "not loaded"
        if self.custom_scorer is not None:
            return f"Reranker(scorer={type(self.custom_scorer).__name__}, {state})"
        where = f", base_url={self._options.base_url!r}" if self._options.base_url else ""
        return f"Reranker(model={self._options.model!r}{where}, {state})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the options only: the copy loads the model itself, on its first use."""
        return {"options": self._options, "scorer": self.custom_scorer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        fields = {name: getattr(state["options"], name) for name in RerankerOptions.model_fields}
        self.__init__(scorer=state["scorer"], **fields)  # type: ignore[misc]  # rebuilt on purpose


def _of_one(options: RerankOptions) -> dict[str, Any]:
    """Return the options of a call with one query as those of a call with several."""
    lists: dict[str, Any] = {
        name: [value] for name in _LISTS if (value := options.get(name)) is not None
    }
    return {**options, **lists}


def changed_call_options(reranker: Reranker) -> list[str]:
    """Return the options that go with every call and are not at their defaults."""
    default, options = RerankerOptions(), reranker.options
    names = sorted(WINDOW_OPTIONS | {"instruction"})
    return [name for name in names if getattr(options, name) != getattr(default, name)]


def _own(scorer: Scorer | None) -> Scorer | None:
    """Return a backend; that of a reranker which was given as one.

    Raises:
        ConfigurationError: The reranker has none of its own, or options that would be lost.
        TypeError: It has no method ``score``.
    """
    if scorer is not None and not isinstance(scorer, Scorer):
        raise TypeError(
            f"scorer is a {type(scorer).__name__}: expected an object with a method "
            "score(query, documents, *, instruction), which returns a margin per document"
        )
    if not isinstance(scorer, Reranker):
        return scorer
    if scorer.custom_scorer is None:
        raise ConfigurationError(
            "scorer is a Reranker, whose scores are probabilities and no margins: use it as it is, "
            "or make another one with its options"
        )
    if names := changed_call_options(scorer):
        raise ConfigurationError(
            f"the scorer has {', '.join(names)}, which go with every call: give them to the "
            "Reranker around it"
        )
    return scorer.custom_scorer
