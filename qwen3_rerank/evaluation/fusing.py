"""Fusion of the first stage with a system: reciprocal ranks and several weights, compared.

The weight that is best on one half of the queries is measured on the other half: measured where it
was chosen, it would flatter itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from qwen3_rerank.evaluation.first_stage import Ranked
from qwen3_rerank.evaluation.measures import per_query, shown
from qwen3_rerank.evaluation.significance import Difference, Estimate, difference, estimate
from qwen3_rerank.evaluation.suggestion import half_of
from shared_core.fusion import Fusion, fuse
from shared_core.ranking import rank

WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
"""Weights of the first stage that are tried; 0 is the reranker alone, 1 the first stage alone."""

ALONE, FIRST_STAGE = 0.0, 1.0


@dataclass(frozen=True, slots=True)
class FusedFigure:
    """The figure of one way to fuse.

    Attributes:
        fusion: ``"rrf"`` or the weight of the first stage.
        figure: The mean of the main measure with its interval.
        gain: The difference from the reranker alone, in pairs.
    """

    fusion: Fusion
    figure: Estimate
    gain: Difference


@dataclass(frozen=True, slots=True)
class Unseen:
    """Figures on the half of the queries that the weight was not chosen on.

    Attributes:
        weight: The best weight on the other half; 0 if the reranker alone is best there.
        chosen_on, queries: The number of queries of the other half, and of this one.
        first_stage: The main measure of the first stage alone.
        alone: The value of the reranker alone.
        fused: The value with the weight.
        gain: The difference of the weight from the reranker alone.
    """

    weight: float
    chosen_on: int
    queries: int
    first_stage: Estimate
    alone: Estimate
    fused: Estimate
    gain: Difference


@dataclass(frozen=True, slots=True)
class FusionReport:
    """A comparison of ways to fuse, by the main measure.

    Attributes:
        rows: Each way, on all queries.
        unseen: The best weight of one half on the other; ``None`` if a half has no query.
    """

    measure: str
    rows: Sequence[FusedFigure]
    unseen: Unseen | None


def compare_fusions(
    candidates: Mapping[str, Ranked],
    margins: Mapping[str, Sequence[float]],
    relevant: Mapping[str, Mapping[str, int]],
    measure: str,
    seed: int,
) -> FusionReport:
    """Return how the ways to fuse compare with the reranker alone.

    Args:
        candidates: Query id → documents with the scores of the first stage, best first.
        margins: Query id → the reranker's margins of these documents; queries without are left out.
        relevant: Query id → document id → grade, of every query that counts.
    """
    ways: tuple[Fusion, ...] = ("rrf", ALONE, *WEIGHTS)
    orders: dict[Fusion, Mapping[str, Ranked]] = {
        way: {query: _fused(candidates[query], some, way) for query, some in margins.items()}
        for way in ways
    }
    orders[FIRST_STAGE] = candidates
    values = {way: per_query(relevant, order, [measure])[measure] for way, order in orders.items()}
    rows = [
        FusedFigure(way, estimate(values[way].values(), seed), _gain(values, way, relevant, seed))
        for way in ("rrf", *WEIGHTS)
    ]
    return FusionReport(measure, rows, _unseen(values, seed))


def best_weight(report: FusionReport) -> str:
    """Return the best weight and what it does on queries not seen, as a sentence."""
    unseen = report.unseen
    if unseen is None:
        return "There are too few queries to choose a weight on one half and measure on the other."
    what = f"fusion={unseen.weight}" if unseen.weight else "no fusion"
    return (
        f"Best on one half of the queries ({unseen.chosen_on}): {what}. On the other half "
        f"({unseen.queries}), {shown(report.measure)} is {unseen.fused.mean:.3f} "
        f"({unseen.fused.low:.3f}–{unseen.fused.high:.3f}) with it, {unseen.alone.mean:.3f} by "
        f"the reranker alone and {unseen.first_stage.mean:.3f} by the first stage alone."
    )


def _fused(candidates: Ranked, margins: Sequence[float], way: Fusion) -> list[tuple[str, float]]:
    fused = fuse(margins, [score for _, score in candidates], way)
    return [(candidates[place][0], fused[place]) for place in rank(margins, fused=fused)]


def _unseen(values: Mapping[Fusion, Mapping[str, float]], seed: int) -> Unseen | None:
    queries = list(values[ALONE])
    chosen_on = [query for query in queries if half_of(query) == 0]
    rest = [query for query in queries if half_of(query) == 1]
    if not chosen_on or not rest:
        return None
    # The first of equal weights: the one that changes the reranker's order least.
    weight = max(
        (ALONE, *WEIGHTS), key=lambda weight: fmean(values[weight][query] for query in chosen_on)
    )
    seen = {way: {query: values[way][query] for query in rest} for way in values}
    return Unseen(
        weight,
        len(chosen_on),
        len(rest),
        estimate(seen[FIRST_STAGE].values(), seed),
        estimate(seen[ALONE].values(), seed),
        estimate(seen[weight].values(), seed),
        _gain(seen, weight, rest, seed),
    )


def _gain(
    values: Mapping[Fusion, Mapping[str, float]],
    way: Fusion,
    queries: Mapping[str, object] | Sequence[str],
    seed: int,
) -> Difference:
    alone, fused = values[ALONE], values[way]
    return difference(
        [alone[query] for query in queries], [fused[query] for query in queries], seed
    )
