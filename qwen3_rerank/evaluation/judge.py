"""A larger model as the judge of others, where no person judged: agreement, and never the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from qwen3_rerank.evaluation.dataset import Dataset, checked
from qwen3_rerank.evaluation.first_stage import FirstStage
from qwen3_rerank.evaluation.results_file import QueryScores
from qwen3_rerank.evaluation.significance import Estimate, estimate
from qwen3_rerank.evaluation.systems import System, name_of
from shared_core.ranking import rank
from shared_core.reranker import Reranker

LETTER = "judge"
FIRST = 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a system and the judge agree about the same candidates.

    Attributes:
        queries: The queries with two candidates or more.
        order: Kendall's τ-b of the two orders, a mean over queries.
        first: The share of queries with the same first document.
        overlap: The share of the judge's first ten that are among the system's.
        same: The share of all candidates that both score on the same side of 0.5.
        kappa: Cohen's κ of that: what is above chance; ``None`` where one of the two says the same
            of all candidates.
    """

    judge: str
    queries: int
    order: Estimate
    first: Estimate
    overlap: Estimate
    same: float
    kappa: float | None


def judge_of(reranker: Reranker) -> System:
    """Return the judge as a system, with its own instruction."""
    return System(LETTER, name_of(reranker), reranker)


def judged_by(
    judge: System, data: Dataset, stage: FirstStage, scores: Mapping[str, QueryScores]
) -> Dataset:
    """Return a data set in which what the judge says yes to is relevant.

    Args:
        data: Queries and documents, without judgements.
        scores: Query id → the judge's scores.

    Raises:
        InputError: The judge says no to every candidate.
    """
    relevant = {
        query: {
            document: int(logit >= 0)
            for (document, _), logit in zip(stage.candidates[query], found.logits, strict=True)
        }
        for query, found in scores.items()
    }
    note = (
        f"judged by {judge.name}, a model, and by no person: every figure is agreement with it, "
        "and none says who is right"
    )
    name = f"{data.name}, judged by {judge.name}"
    return replace(
        checked(name, data.documents, data.queries, relevant, [note, *data.notes]),
        answers=data.answers,
    )


def restricted(stage: FirstStage, data: Dataset) -> FirstStage:
    """Return the candidates of the queries that are left."""
    return replace(stage, candidates={query: stage.candidates[query] for query in data.queries})


def agreement(
    judge: System,
    mine: Mapping[str, QueryScores],
    other: Mapping[str, QueryScores],
    seed: int,
) -> Agreement:
    """Return how far a system agrees with the judge.

    Args:
        mine: Query id → the system's scores.
        other: Query id → the judge's scores of the same candidates.
    """
    queries = [query for query in other if query in mine and len(other[query].logits) > 1]
    pairs = [(mine[query].logits, other[query].logits) for query in queries]
    orders = [(rank(left)[:FIRST], rank(right)[:FIRST]) for left, right in pairs]
    taus = [_tau(left, right) for left, right in pairs]
    first = [float(left[0] == right[0]) for left, right in orders]
    overlap = [len({*left} & {*right}) / len(right) for left, right in orders]
    said = np.array(
        [(a >= 0, b >= 0) for left, right in pairs for a, b in zip(left, right, strict=True)]
    )
    same = float((said[:, 0] == said[:, 1]).mean()) if len(said) else 1.0
    yes = said.mean(axis=0) if len(said) else np.array([0.0, 0.0])
    chance = float(yes.prod() + (1 - yes).prod())
    return Agreement(
        judge.name,
        len(queries),
        estimate(taus or [0.0], seed),
        estimate(first or [0.0], seed),
        estimate(overlap or [0.0], seed),
        same,
        None if chance > 1 - 1e-12 else (same - chance) / (1 - chance),
    )


def _tau(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Kendall's τ-b; 0 where one side ties all candidates."""
    tau = float(stats.kendalltau(left, right).statistic)
    return 0.0 if np.isnan(tau) else tau
