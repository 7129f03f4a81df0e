"""The main measure by depth: what it is worth to rerank so many candidates, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qwen3_rerank.evaluation.first_stage import Ranked
from qwen3_rerank.evaluation.measures import per_query
from qwen3_rerank.evaluation.significance import Difference, Estimate, difference, estimate
from shared_core.ranking import rank
from shared_core.windows.meters import estimate_tokens

DEPTHS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500)
_PROMPT = 80
"""About so many tokens are around a document."""


@dataclass(frozen=True, slots=True)
class Depth:
    """The effect of reranking the first candidates alone, with the others behind as they were.

    Attributes:
        depth: The number of candidates that are reranked.
        change: The difference to reranking all candidates, in pairs.
        share: The share of the work of all candidates, by the length of their texts.
    """

    depth: int
    figure: Estimate
    change: Difference
    share: float


def by_depth(
    candidates: Mapping[str, Ranked],
    margins: Mapping[str, Sequence[float]],
    documents: Mapping[str, str],
    relevant: Mapping[str, Mapping[str, int]],
    measure: str,
    seed: int,
) -> list[Depth]:
    """Return the effect of several depths; the last one is all candidates.

    Args:
        candidates: Query id → documents with the scores of the first stage, best first.
        margins: Query id → the margins of these documents; queries without are left out.
        documents: Document id → text.
        relevant: Query id → document id → grade, of every query that counts.
    """
    most = max((len(some) for some in margins.values()), default=0)
    depths = [*(depth for depth in DEPTHS if depth < most), most] if most else []
    costs = _costs(candidates, margins, documents)
    whole = sum(map(sum, costs.values()))
    values = {
        depth: per_query(
            relevant,
            {query: _order(candidates[query], some, depth) for query, some in margins.items()},
            [measure],
        )[measure]
        for depth in depths
    }
    return [
        Depth(
            depth,
            estimate(values[depth].values(), seed),
            difference(values[most].values(), values[depth].values(), seed),
            sum(sum(cost[:depth]) for cost in costs.values()) / whole,
        )
        for depth in depths
    ]


def _costs(
    candidates: Mapping[str, Ranked],
    margins: Mapping[str, Sequence[float]],
    documents: Mapping[str, str],
) -> dict[str, list[int]]:
    """Return about how many tokens each candidate takes."""
    names = {name for query in margins for name, _ in candidates[query]}
    texts = list(names)
    tokens = dict(zip(texts, estimate_tokens([documents[n] for n in texts]), strict=True))
    return {query: [_PROMPT + tokens[name] for name, _ in candidates[query]] for query in margins}


def _order(candidates: Ranked, margins: Sequence[float], depth: int) -> list[tuple[str, float]]:
    """Return the candidates with the first of them reranked, under scores that fall."""
    places = [*rank(margins[:depth]), *range(min(depth, len(margins)), len(margins))]
    return [(candidates[place][0], float(-at)) for at, place in enumerate(places)]
