"""The figures of systems, from their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean, median, quantiles
from typing import Any

from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.depth import by_depth
from qwen3_rerank.evaluation.findings import FIRST, Comparison, SystemReport, Timing
from qwen3_rerank.evaluation.first_stage import FirstStage
from qwen3_rerank.evaluation.fusing import compare_fusions
from qwen3_rerank.evaluation.measures import per_query
from qwen3_rerank.evaluation.passages import best_f1, calibration, judged
from qwen3_rerank.evaluation.results_file import QueryScores, mean_if_known, sum_if_known
from qwen3_rerank.evaluation.significance import difference, estimate, holm
from qwen3_rerank.evaluation.suggestion import suggest
from qwen3_rerank.evaluation.systems import System
from shared_core.identity import device_kind, identity
from shared_core.prompt import DEFAULT_INSTRUCTION
from shared_core.ranking import rank, sigmoid


def system_report(
    system: System,
    scores: Mapping[str, QueryScores],
    data: Dataset,
    stage: FirstStage,
    measures: Sequence[str],
    seed: int,
    keep: float,
    *,
    is_timed: bool,
) -> SystemReport:
    """Return the figures of one system.

    Args:
        scores: Query id → scores.
        measures: The names of the measures, the main one first.
        keep: The share of answered queries that the suggestion must keep.
        is_timed: Whether queries were scored one by one.
    """
    order = {
        query: [
            (stage.candidates[query][place][0], scores[query].logits[place])
            for place in rank(scores[query].logits)
        ]
        if query in scores
        else []
        for query in data.queries
    }
    values = per_query(data.relevant, order, measures)
    margins = {query: scores[query].logits for query in data.queries if query in scores}
    common = (data.relevant, measures[0], seed)
    as_scores = {
        query: [(document, sigmoid(logit)) for document, logit in ranked]
        for query, ranked in order.items()
    }
    after = judged(as_scores, data.relevant)
    return SystemReport(
        letter=system.letter,
        name=system.name,
        instruction=_instruction(system),
        told=identity(system.reranker) | {"device": device_kind(system.reranker)},
        values=values,
        figures={name: estimate(values[name].values(), seed) for name in measures},
        order=order,
        judged=after,
        **_cost(list(scores.values()), is_timed=is_timed),
        best_f1=best_f1(after),
        calibration=calibration(after),
        suggestion=suggest(after, judged(stage.candidates, data.relevant), keep),
        depths=by_depth(stage.candidates, margins, data.documents, *common),
        fusion=compare_fusions(stage.candidates, margins, *common),
    )


def _instruction(system: System) -> str:
    instruction = system.instruction
    instruction = system.reranker.options.instruction if instruction is None else instruction
    return (
        "a function of the query" if callable(instruction) else instruction or DEFAULT_INSTRUCTION
    )


def _cost(scores: Sequence[QueryScores], *, is_timed: bool) -> dict[str, Any]:
    """Return tokens and times."""
    documents = sum(len(query.logits) for query in scores)
    tokens = [query.tokens for query in scores]
    per_query = mean_if_known(tokens)
    seconds = [query.seconds for query in scores if query.seconds is not None]
    return {
        "tokens_per_query": per_query,
        "tokens_per_document": None if per_query is None else per_query * len(tokens) / documents,
        "truncated": sum_if_known([query.truncated for query in scores]) if scores else None,
        "timing": timing(seconds) if seconds and is_timed else None,
    }


def timing(seconds: Sequence[float]) -> Timing:
    """Return the mean, the median and the 95th percentile of some seconds."""
    p95 = quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return Timing(len(seconds), fmean(seconds), median(seconds), p95)


def right_of(data: Dataset, stage: FirstStage) -> tuple[int, int]:
    """Return the number of relevant documents, and of those among the candidates."""
    there = found = 0
    for query, grades in data.relevant.items():
        candidates = {document for document, _ in stage.candidates[query]}
        right = [document for document, grade in grades.items() if grade > 0]
        there += len(right)
        found += sum(document in candidates for document in right)
    return there, found


def comparisons_of(
    before: Mapping[str, Mapping[str, float]],
    systems: Sequence[SystemReport],
    measures: Sequence[str],
    seed: int,
) -> list[Comparison]:
    """Return every two, corrected together measure by measure."""
    found = []
    for name in measures:
        rows = [
            (FIRST, before[name]),
            *((system.letter, system.values[name]) for system in systems),
        ]
        pairs = [
            (first, second, difference(a.values(), b.values(), seed))
            for (first, a), (second, b) in combinations(rows, 2)
        ]
        corrected = holm([difference.p for _, _, difference in pairs])
        found += [
            Comparison(name, first, second, difference, p)
            for (first, second, difference), p in zip(pairs, corrected, strict=True)
        ]
    return found
