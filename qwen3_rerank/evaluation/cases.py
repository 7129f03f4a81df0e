"""The queries that gained and lost most, with the documents that moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qwen3_rerank.evaluation.findings import Findings, SystemReport
from shared_core.ranking import sigmoid

MOST = 5
MOST_LOST = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A document with its ranks, from 1.

    Attributes:
        before, after: The rank in the first stage and in the system.
        score: P(yes).
        is_right: Whether it is judged relevant.
    """

    document: str
    text: str
    before: int
    after: int
    score: float
    is_right: bool


@dataclass(frozen=True, slots=True)
class Case:
    """One query.

    Attributes:
        before, after: The values of the main measure.
        places: The right document that comes first, and what stands above it on the side that is
            worse.
    """

    query: str
    text: str
    before: float
    after: float
    places: Sequence[Place]


@dataclass(frozen=True, slots=True)
class Top:
    """One query in two systems.

    Attributes:
        first, second: Of each system the main measure, the text of the first document, and whether
            that is judged relevant.
    """

    query: str
    text: str
    first: tuple[float, str, bool]
    second: tuple[float, str, bool]


def tops(
    report: Findings, first: SystemReport, second: SystemReport, most: int = MOST_LOST
) -> list[Top]:
    """Return the queries whose main measure differs most between two systems, the most first."""
    main, data = report.measures[0], report.dataset

    def side(system: SystemReport, query: str) -> tuple[float, str, bool]:
        value, order = system.values[main][query], system.order[query]
        name = order[0][0] if order else ""
        return value, data.documents.get(name, ""), data.relevant[query].get(name, 0) > 0

    one, other = first.values[main], second.values[main]
    gap = {query: abs(one[query] - other[query]) for query in data.queries}
    differing = sorted((query for query in gap if gap[query] > 0), key=lambda query: -gap[query])
    return [
        Top(query, data.queries[query], side(first, query), side(second, query))
        for query in differing[:most]
    ]


def gains(report: Findings, system: SystemReport, most: int = MOST) -> list[Case]:
    """Return the queries that gained most by the main measure, best first."""
    return _cases(report, system, most, sign=1)


def losses(report: Findings, system: SystemReport, most: int = MOST_LOST) -> list[Case]:
    """Return the queries that lost most by the main measure, worst first."""
    return _cases(report, system, most, sign=-1)


def _cases(report: Findings, system: SystemReport, most: int, sign: int) -> list[Case]:
    before, after = report.before[report.measures[0]], system.values[report.measures[0]]
    change = {query: sign * (after[query] - before[query]) for query in report.dataset.queries}
    moved = [query for query in change if change[query] > 0]
    moved.sort(key=lambda query: -change[query])
    return [
        Case(
            query,
            report.dataset.queries[query],
            before[query],
            after[query],
            _places(report, system, query),
        )
        for query in moved[:most]
    ]


def _places(report: Findings, system: SystemReport, query: str) -> list[Place]:
    """Return the best right document, and the first one of the order that has it lower."""
    documents, grades = report.dataset.documents, report.dataset.relevant[query]
    old = [document for document, _ in report.first_stage.candidates[query]]
    new = [document for document, _ in system.order[query]]
    scores = dict(system.order[query])

    def place(document: str) -> Place:
        return Place(
            document,
            documents[document],
            old.index(document) + 1,
            new.index(document) + 1,
            sigmoid(scores[document]),
            grades.get(document, 0) > 0,
        )

    worse, better = (old, new) if _first(old, grades) > _first(new, grades) else (new, old)
    right = [document for document in better if grades.get(document, 0) > 0]
    shown = [*right[:1], worse[0]]
    return [place(document) for document in dict.fromkeys(shown)]


def _first(order: Sequence[str], grades: Mapping[str, int]) -> int:
    return next((i for i, document in enumerate(order) if grades.get(document, 0) > 0), len(order))
