"""The options of a call that ranks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from shared_core.fusion import Fusion
from shared_core.options.option import About, option

Compress = Literal["evidence"]
"""What documents are reduced to."""


class RankingOptions(BaseModel):
    """Which documents of a ranking are returned; `Reranker.rerank` documents the fields."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    top_k: int | None = option(
        None,
        "How many documents to keep; all by default, five in the adapters. Also top_n.",
        About("Ranking"),
        ge=1,
    )
    score_threshold: float | None = option(
        None, "Drop documents with a score below this, in [0, 1].", About("Ranking"), ge=0.0, le=1.0
    )
    min_probability: float | None = option(
        None,
        "Drop documents with a calibrated probability below this, in [0, 1].",
        About("Ranking"),
        ge=0.0,
        le=1.0,
    )
    min_docs: int = option(
        0, "Keep this many of the best, whatever the threshold says.", About("Ranking"), ge=0
    )
    return_window: bool = option(
        False,
        "Return the best window of a long document in the place of the document.",
        About("Ranking"),
    )
    fusion: Fusion | None = option(
        None,
        'Also let the retriever decide the order: "rrf" adds reciprocal ranks, and a number from 0 '
        "to 1 is the weight of the retriever's score. The reranker alone by default.",
        About("Ranking"),
    )
    mmr: float | None = option(
        None,
        "Prefer documents unlike those before them (maximal marginal relevance): the weight of "
        "relevance against diversity, such as 0.7; not by default.",
        About("Ranking"),
        ge=0.0,
        le=1.0,
    )
    max_candidates: int | None = option(
        None,
        "How many documents to score, the first ones of the retriever; those behind them are "
        "returned unscored, behind all others. All by default.",
        About("Ranking"),
        ge=1,
    )
    time_budget: float | None = option(
        None,
        "Seconds for scoring: documents that there was no time for are returned unscored, behind "
        "all others. No bound by default.",
        About("Ranking"),
        gt=0.0,
        allow_inf_nan=False,
    )

    @property
    def has_threshold(self) -> bool:
        """Whether documents are dropped for their scores, and so those without a score."""
        return self.score_threshold is not None or self.min_probability is not None

    evidence: bool = option(
        False,
        "Also find the sentences of each document kept that answer the query, by scoring its "
        "parts in one further request.",
        About("Ranking"),
    )
    compress: Compress | None = option(
        None,
        '"evidence" returns of each document its evidence and the sentences next to it alone.',
        About("Ranking"),
    )

    @property
    def seeks_evidence(self) -> bool:
        """Whether evidence is wanted, for itself or to compress documents."""
        return self.evidence or self.compress is not None

    @field_validator(
        "top_k",
        "min_docs",
        "score_threshold",
        "min_probability",
        "mmr",
        "max_candidates",
        "time_budget",
        mode="before",
    )
    @classmethod
    def _refuse_no_number(cls, value: Any) -> Any:
        """Take no text and no bool for a number. A text may be a mistyped key: it is not shown."""
        if isinstance(value, (bool, str, bytes)):
            raise ValueError(f"expected a number, got a {type(value).__name__}")
        return value

    @field_validator("top_k", mode="before")
    @classmethod
    def _refuse_zero(cls, value: Any) -> Any:
        """Refuse 0, which means all documents for clients of some servers."""
        if value == 0 and not isinstance(value, bool):
            raise ValueError("top_k is 0: expected 1 or more, or None to keep all")
        return value

    @field_validator("fusion", mode="before")
    @classmethod
    def _check_fusion(cls, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is None or value == "rrf" or (is_number and 0 <= value <= 1):
            return value
        raise ValueError(
            'expected "rrf", the weight of the retriever from 0 to 1, or None, got '
            + (str(value) if is_number else f"a {type(value).__name__}")
        )

    @model_validator(mode="after")
    def _check_min_docs(self) -> RankingOptions:
        if self.top_k is not None and self.min_docs > self.top_k:
            raise ValueError(
                f"min_docs={self.min_docs} asks for more documents than top_k={self.top_k} allows"
            )
        return self
