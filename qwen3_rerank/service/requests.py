"""Pydantic models of the requests. Field names follow the clients of each route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from qwen3_rerank.service.fields import FusionField, RetrieverScores, TextLists, Texts
from qwen3_rerank.service.images import Contents, QueryContent
from shared_core.images.content import Content
from shared_core.numbers import Number, Whole
from shared_core.options import RankingOptions
from shared_core.options.ranking import Compress
from shared_core.options.windows import (
    WINDOW_OPTIONS,
    LongDocuments,
    WindowOptions,
    Windows,
    windows_of,
)

# Fields that Jina's and vLLM's clients send and those of the plain form do not.
_OF_OTHER_CLIENTS = frozenset(
    ["model", "top_n", "return_documents", "use_activation", "chat_template_kwargs"]
)


class ScoringRequest(BaseModel):
    """Fields of all requests. Unknown fields are ignored: clients of every server send some."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, protected_namespaces=())

    # Whatever it is, it is not kept while the request waits.
    model: Annotated[Any, AfterValidator(lambda _: None)] = Field(
        default=None, description="Not looked at: the service has one model."
    )
    instruction: str | None = Field(
        default=None, description="The task, in a sentence; the service's own by default."
    )
    instruct: str | None = Field(default=None, description="Another name of it.")
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="vLLM's way of giving the instruction."
    )
    long_documents: LongDocuments | None = Field(
        default=None, description="windows: split long documents, and score the best window."
    )
    window_tokens: Whole | None = Field(default=None, ge=16, description="Tokens of a window.")
    window_overlap: Whole | None = Field(
        default=None, ge=0, description="Tokens that two windows share, at most half of one."
    )

    def windows(self, configured: WindowOptions) -> Windows | None:
        """Return the windows asked for; of the service's own for what was left out.

        Raises:
            pydantic.ValidationError: They contradict those.
        """
        return windows_of(configured, {name: getattr(self, name) for name in WINDOW_OPTIONS})

    @property
    def task(self) -> str | None:
        """The instruction, under either of its names."""
        return self.instruction if self.instruction is not None else self.instruct

    @model_validator(mode="after")
    def _one_instruction(self) -> ScoringRequest:
        values = [self.instruction, self.instruct]
        for name in ("instruction", "instruct"):
            nested = (self.chat_template_kwargs or {}).get(name)
            if nested is not None and not isinstance(nested, str):
                raise ValueError(f"chat_template_kwargs.{name} is not a string")
            values.append(nested)
        self.instruction = _agreed(values, "instruction and instruct differ: give one of them")
        return self


class RankingRequest(ScoringRequest):
    """What all requests that rank have in common."""

    top_n: Whole | None = Field(default=None, ge=0, description="How many to return; 0 is all.")
    top_k: Whole | None = Field(default=None, ge=0, description="Another name of it.")
    score_threshold: Number | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Leave out lower scores."
    )
    min_probability: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Leave out lower calibrated probabilities; the service needs a calibration.",
    )
    max_candidates: Whole | None = Field(
        default=None,
        ge=1,
        description="Score the first so many documents alone; the others follow unscored.",
    )
    time_budget: Number | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds, waiting included; what was not reached follows unscored. Also the "
        "header X-Time-Budget.",
    )
    fusion: FusionField = Field(
        default=None,
        description="The retriever decides, too: rrf, or its weight from 0 to 1; by "
        "retriever_scores, else by the order of the documents.",
    )
    mmr: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Prefer documents unlike those before them: the weight of relevance.",
    )
    return_documents: bool | None = Field(default=None, description="Repeat the texts.")
    return_window: bool = Field(
        default=False, description="Repeat of a long document its best window alone."
    )
    evidence: bool = Field(
        default=False, description="Find the sentences of each document that answer the query."
    )
    compress: Compress | None = Field(
        default=None, description="evidence: repeat of each document its evidence and neighbours."
    )

    @property
    def ranking(self) -> RankingOptions:
        """Options of the ranking; without ``top_n``, all documents are kept."""
        return RankingOptions(
            top_k=self.top_n or self.top_k or None,
            score_threshold=self.score_threshold,
            min_probability=self.min_probability,
            return_window=self.return_window,
            max_candidates=self.max_candidates,
            fusion=self.fusion,
            mmr=self.mmr,
            evidence=self.evidence,
            compress=self.compress,
        )

    @model_validator(mode="after")
    def _one_top(self) -> RankingRequest:
        _agreed([self.top_n or None, self.top_k or None], "top_n and top_k differ: give one")
        return self


class _OneQuery(RankingRequest):
    query: QueryContent
    retriever_scores: RetrieverScores | None = Field(
        default=None,
        description="For fusion: a number per document, larger is better; null for none.",
    )

    @property
    def all_scores(self) -> list[RetrieverScores | None] | None:
        """The retriever's scores, by query."""
        return None if self.retriever_scores is None else [self.retriever_scores]


class RerankRequest(_OneQuery):
    """One query. With ``texts`` for ``documents``, it is TEI's, and so is the reply."""

    documents: Contents | None = None
    texts: Texts | None = None
    raw_scores: bool = Field(default=False, description="Return margins for probabilities.")
    use_activation: bool | None = Field(default=None, description="vLLM's: false is raw_scores.")
    return_text: bool = Field(default=False, description="TEI's return_documents.")
    truncate: bool | None = Field(
        default=None, description="TEI's: false refuses texts that would have to be cut."
    )

    @property
    def is_tei(self) -> bool:
        """Whether the reply is to be TEI's."""
        return self.texts is not None

    @property
    def is_compatible(self) -> bool:
        """Whether it has a field of Jina's or vLLM's clients, which read ``document.text``."""
        return not _OF_OTHER_CLIENTS.isdisjoint(self.model_fields_set)

    @property
    def is_raw(self) -> bool:
        """Whether the client wants logits."""
        return self.raw_scores or self.use_activation is False

    @property
    def contents(self) -> Sequence[str | Content]:
        """The documents."""
        return self.texts if self.texts is not None else self.documents or []

    @model_validator(mode="after")
    def _one_list(self) -> RerankRequest:
        if (self.documents is None) == (self.texts is None):
            raise ValueError("give documents, a list of strings (or texts, as TEI's clients do)")
        return self


class BatchRequest(RankingRequest):
    """Several queries, each with documents of its own."""

    queries: Texts = Field(description="The queries.")
    documents_batch: TextLists = Field(description="The documents of each.")
    retriever_scores: list[RetrieverScores | None] | None = Field(
        default=None, description="For fusion: the retriever's scores of each; null for none."
    )

    @property
    def all_scores(self) -> list[RetrieverScores | None] | None:
        """The retriever's scores, by query."""
        return self.retriever_scores

    @model_validator(mode="after")
    def _as_many(self) -> BatchRequest:
        if len(self.queries) != len(self.documents_batch):
            raise ValueError(
                f"{len(self.queries)} queries and {len(self.documents_batch)} lists of documents: "
                "expected as many"
            )
        return self


class ScorePairsRequest(ScoringRequest):
    """Pairs: one query and many documents, or as many of both. The names are vLLM's."""

    text_1: Texts | None = None
    text_2: Texts | None = None
    queries: Texts | None = None
    query: Texts | None = None
    documents: Texts | None = None
    items: Texts | None = None
    use_activation: bool | None = None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Query and document of each pair, in order."""
        left = _first(self.text_1, self.queries, self.query)
        right = _first(self.text_2, self.documents, self.items)
        if len(left) == 1:
            left = left * len(right)
        return list(zip(left, right, strict=True))

    @model_validator(mode="after")
    def _fits(self) -> ScorePairsRequest:
        sides = (self.text_1, self.queries, self.query), (self.text_2, self.documents, self.items)
        for names, side in zip(
            ("text_1 (or queries)", "text_2 (or documents)"), sides, strict=True
        ):
            if sum(texts is not None for texts in side) != 1:
                raise ValueError(f"give {names}, once")
        n_left, n_right = (len(_first(*side)) for side in sides)
        if n_left not in (1, n_right):
            raise ValueError(
                f"{n_left} queries and {n_right} documents: expected one query, or as many"
            )
        return self


class PredictRequest(_OneQuery):
    """One query, for the shortest of replies."""

    documents: Texts


Item = TypeVar("Item")


def _first(*values: list[str] | None) -> list[str]:
    return next((value for value in values if value is not None), [])


def _agreed(values: Sequence[Item | None], complaint: str) -> Item | None:
    present = [value for value in values if value is not None]
    if any(value != present[0] for value in present):
        raise ValueError(complaint)
    return present[0] if present else None
