"""Options of one call: which verb of `Reranker` takes which, and what they mean for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, TypeVar

from shared_core.diversity import Embeddings
from shared_core.errors import ConfigurationError
from shared_core.fusion import Fusion, Scores
from shared_core.options import Instruction, RankingOptions, RerankerOptions
from shared_core.options.neighbours import did_you_mean
from shared_core.options.ranking import Compress
from shared_core.options.windows import WINDOW_OPTIONS, LongDocuments

Verb = TypeVar("Verb", bound=Callable[..., Any])


class WindowCallOptions(TypedDict, total=False):
    """Options of long documents for one call; ``None`` takes the reranker's."""

    long_documents: LongDocuments | None
    window_tokens: int | None
    window_overlap: int | None


class SplitOptions(WindowCallOptions, total=False):
    """Options of `Reranker.asplit`."""

    most: int | None


class CallOptions(WindowCallOptions, total=False):
    """Options of every call that scores."""

    instruction: Instruction | None


class RankingCallOptions(TypedDict, total=False):
    """Options of the ranking for one call, as `Reranker.rerank` has them."""

    top_k: int | None
    top_n: int | None
    score_threshold: float | None
    min_probability: float | None
    min_docs: int
    fusion: Fusion | None
    mmr: float | None
    max_candidates: int | None
    time_budget: float | None
    return_window: bool
    evidence: bool
    compress: Compress | None


class RankCallOptions(CallOptions, RankingCallOptions, total=False):
    """Options of every call that ranks."""


class RerankOptions(RankCallOptions, total=False):
    """Options of a call that ranks the documents of one query."""

    retriever_scores: Scores | None
    embeddings: Embeddings | None


class RerankManyOptions(RankCallOptions, total=False):
    """Options of a call that ranks the documents of several queries."""

    retriever_scores: Iterable[Scores | None] | None
    embeddings: Iterable[Embeddings | None] | None


_taken = {"Reranker": frozenset(RerankerOptions.model_fields) | {"scorer"}}


def takes(options: type) -> Callable[[Verb], Verb]:
    """Declare the options of a verb, for `refuse_unknown`, ``help`` and notebooks.

    Args:
        options: The type of its ``**options``.
    """

    def declare(verb: Verb) -> Verb:
        _taken[verb.__name__] = frozenset(options.__annotations__)
        signature = inspect.signature(verb)
        *positional, _ = signature.parameters.values()
        names = sorted(options.__annotations__, key=lambda name: name in WINDOW_OPTIONS)
        verb.__signature__ = signature.replace(  # type: ignore[attr-defined]  # functions take it
            parameters=[*positional, *map(_parameter, names)]
        )
        return verb

    return declare


def _parameter(name: str) -> inspect.Parameter:
    field = RankingOptions.model_fields.get(name)
    default = None if field is None else field.default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)


def refuse_unknown(owner: str, options: Mapping[str, object]) -> None:
    """Raise for options that the owner does not take.

    Args:
        owner: A verb, or ``"Reranker"``.
        options: The options of the call.

    Raises:
        TypeError: Says who has it, or what was probably meant.
    """
    of_model, of_calls = _taken["Reranker"], _taken["rerank"]
    for name in options.keys() - _taken[owner]:
        if owner != "Reranker" and name in of_model:
            hint = " It belongs to the model: give it to Reranker(...)."
        elif name in of_calls:
            hint = f" It belongs to each call: rerank(query, documents, {name}=...)."
        else:
            hint = did_you_mean(name, sorted(_taken[owner]))
            hint = hint or did_you_mean(name, sorted(of_model | of_calls))
        raise TypeError(f"{owner}() has no option {name!r}.{hint}")


def ranking_of(options: Mapping[str, Any]) -> RankingOptions:
    """Return the ranking options among the options of a call.

    Raises:
        ValueError: ``top_k`` and its other name ``top_n`` are both given, or one is out of range.
    """
    given = {name: options[name] for name in RankingOptions.model_fields if name in options}
    if options.get("top_n") is not None:
        if given.get("top_k") is not None:
            raise ConfigurationError("got both top_k and top_n, which are one option: use top_k")
        given["top_k"] = options["top_n"]
    return RankingOptions(**given)
