"""Measures, by ir-measures: one value per query, so that systems can be compared in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ir_measures

from qwen3_rerank.evaluation.trec import falling
from qwen3_rerank.reading.text import InputError

MEASURES = ("nDCG@10", "RR@10", "R@5", "Success@1")
"""The first is the one that gains and losses are told by."""

_NAMES = {"RR": "MRR", "R": "Recall"}

Order = Mapping[str, Sequence[tuple[str, float]]]
"""Query id → document ids with scores, best first."""


def parse(names: Sequence[str]) -> list[ir_measures.measures.Measure]:
    """Return measures by the names that ir-measures has for them.

    Raises:
        InputError: One of them is no measure.
    """
    if not names:
        raise InputError("no measures: give at least one, such as nDCG@10")
    return [_parsed(name) for name in names]


def _parsed(name: str) -> ir_measures.measures.Measure:
    try:
        return ir_measures.parse_measure(name)
    except (NameError, ValueError, KeyError, SyntaxError) as error:
        raise InputError(
            f"{name!r:.60} is no measure of ir-measures, such as nDCG@10, RR@10, R@100 or AP: "
            f"{error}"
        ) from None


def shown(name: str) -> str:
    """Return the name of a measure in tables, whose values are means.

    >>> shown("RR@10"), shown("R@5"), shown("nDCG@10")
    ('MRR@10', 'Recall@5', 'nDCG@10')
    """
    short, at, rest = name.partition("@")
    return _NAMES.get(short, short) + at + rest


def per_query(
    relevant: Mapping[str, Mapping[str, int]], order: Order, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return measure name → query id → value.

    A query whose candidates hold no relevant document, or that has no candidates, has 0.

    Args:
        relevant: Query id → document id → grade, of every query that counts.
        order: The ranking of each; documents that are not in it were not found.
        names: Measures of ir-measures.
    """
    measures = parse(names)
    judgements = [
        ir_measures.Qrel(query, document, grade)
        for query, grades in relevant.items()
        for document, grade in grades.items()
    ]
    run = [
        ir_measures.ScoredDoc(query, document, score)
        for query in relevant
        for (document, _), score in _falling(order.get(query, ()))
    ]
    values = {name: dict.fromkeys(relevant, 0.0) for name in names}
    by_measure = {str(measure): name for measure, name in zip(measures, names, strict=True)}
    for value in ir_measures.iter_calc(measures, judgements, run):
        values[by_measure[str(value.measure)]][value.query_id] = float(value.value)
    return values


def best_possible(
    relevant: Mapping[str, Mapping[str, int]], order: Order, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return `per_query` of the same candidates in the best order: what no reranker can exceed."""
    ideal = {
        query: [
            (document, float(-place))
            for place, (document, _) in enumerate(
                sorted(ranked, key=lambda entry: -relevant[query].get(entry[0], 0))
            )
        ]
        for query, ranked in order.items()
        if query in relevant
    }
    return per_query(relevant, ideal, names)


def _falling(
    ranked: Sequence[tuple[str, float]],
) -> list[tuple[tuple[str, float], float]]:
    return list(zip(ranked, falling([score for _, score in ranked]), strict=True))
