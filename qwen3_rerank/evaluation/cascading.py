"""Cascades of the systems that were compared: what each number of kept documents gains and costs.

Both systems have scored all candidates, so every ``keep`` follows from known scores: the first's
best documents in the order of the second, then the rest in the order of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from qwen3_rerank.evaluation.first_stage import Ranked
from qwen3_rerank.evaluation.measures import per_query, shown
from qwen3_rerank.evaluation.results_file import QueryScores, mean_if_known
from qwen3_rerank.evaluation.significance import Difference, Estimate, difference, estimate
from qwen3_rerank.evaluation.systems import System
from shared_core.ranking import rank

KEEPS = (5, 10, 20, 50)
"""The numbers of kept documents that are tried, where there are more candidates."""


@dataclass(frozen=True, slots=True)
class CascadeFigure:
    """The figures of one number of kept documents.

    Attributes:
        keep: The number of documents that the second system judges.
        from_first, from_second: The differences from each system alone, in pairs.
        tokens: Prompt tokens of the first and of the second system, means over queries; ``None``
            where one cannot tell.
        seconds: The time of a query, a mean: that of the first, and of the second's the share of
            its tokens. Estimated so, not measured; ``None`` if no query was timed.
    """

    keep: int
    figure: Estimate
    from_first: Difference
    from_second: Difference
    tokens: tuple[float, float] | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class CascadeReport:
    """Two systems in turn, by the main measure.

    Attributes:
        first, second: Their letters.
    """

    first: str
    second: str
    measure: str
    rows: Sequence[CascadeFigure]

    @property
    def name(self) -> str:
        """Return both letters, in words."""
        return f"{self.first}, then {self.second}"

    def to_dict(self) -> dict[str, Any]:
        """Return all but the times."""
        rows = [
            {key: value for key, value in asdict(row).items() if key != "seconds"}
            for row in self.rows
        ]
        return {"first": self.first, "second": self.second, "measure": self.measure, "rows": rows}

    def lines(self) -> list[str]:
        """Return a sentence per number of kept documents."""
        return [
            f"{self.name}, keep={row.keep}: {shown(self.measure)} {row.figure.mean:.3f} "
            f"({row.figure.low:.3f}–{row.figure.high:.3f}), {row.from_first.estimate.mean:+.3f} "
            f"from {self.first} alone and {row.from_second.estimate.mean:+.3f} from {self.second} "
            "alone" + _cost(row, self)
            for row in self.rows
        ]


def compare_cascades(
    systems: Sequence[System],
    scores: Mapping[str, Mapping[str, QueryScores]],
    values: Mapping[str, Mapping[str, float]],
    candidates: Mapping[str, Ranked],
    relevant: Mapping[str, Mapping[str, int]],
    measure: str,
    seed: int,
    *,
    keeps: Iterable[int] = (),
    is_timed: bool = True,
) -> list[CascadeReport]:
    """Return every two systems in turn that have different rerankers and the same instruction.

    Args:
        systems: The systems, the quicker ones first.
        scores: Letter → query id → scores.
        values: Letter → query id → value of the measure.
        candidates: Query id → documents of the first stage.
        relevant: Query id → document id → grade, of every query that counts.
        keeps: Numbers of kept documents besides `KEEPS`.
        is_timed: Whether queries were scored one by one.
    """
    most = max(map(len, candidates.values()), default=0)
    tried = [keep for keep in sorted({*KEEPS, *keeps}) if keep < most]

    def figure(first: str, second: str, keep: int) -> CascadeFigure:
        orders: dict[str, Ranked] = {}
        tokens: list[tuple[int | None, int | None]] = []
        seconds: list[float | None] = []
        for query, before in scores[first].items():
            after = scores[second][query]
            places = _order(before, after, keep)
            # Only the order counts, which a falling number keeps.
            names = [candidates[query][place][0] for place in places]
            orders[query] = [(name, -float(at)) for at, name in enumerate(names)]
            kept, asks_first = set(places[:keep]), keep < len(places)
            each = after.tokens_each
            spent = None if each is None else sum(each[place] for place in kept)
            tokens.append((before.tokens if asks_first else 0, spent))
            share = len(kept) / len(places)
            if spent is not None and after.tokens:
                share = spent / after.tokens
            is_known = before.seconds is not None and after.seconds is not None
            taken = (before.seconds or 0) * asks_first + (after.seconds or 0) * share
            seconds.append(taken if is_known else None)
        value = per_query(relevant, orders, [measure])[measure]
        changes = [
            difference([values[letter][query] for query in value], value.values(), seed)
            for letter in (first, second)
        ]
        of_first, of_second = (mean_if_known([pair[place] for pair in tokens]) for place in (0, 1))
        return CascadeFigure(
            keep,
            estimate(value.values(), seed),
            changes[0],
            changes[1],
            None if of_first is None or of_second is None else (of_first, of_second),
            mean_if_known(seconds) if is_timed else None,
        )

    pairs = [
        (first.letter, second.letter)
        for first, second in combinations(systems, 2)
        if first.reranker is not second.reranker and _task(first) == _task(second)
    ]
    return [
        CascadeReport(first, second, measure, [figure(first, second, keep) for keep in tried])
        for first, second in pairs
        if tried
    ]


def _order(before: QueryScores, after: QueryScores, keep: int) -> list[int]:
    """Return the places of a query's candidates in the order of the cascade."""
    kept = set(rank(before.logits, top_k=keep))
    places = range(len(before.logits))
    margins = [(after if place in kept else before).logits[place] for place in places]
    return rank(margins, stages=[2 if place in kept else 1 for place in places])


def _cost(row: CascadeFigure, report: CascadeReport) -> str:
    said = ""
    if row.tokens is not None:
        first, second = row.tokens
        said += f"; {first:,.0f} tokens of {report.first} and {second:,.0f} of {report.second}"
    if row.seconds is not None:
        said += f", about {row.seconds:.3f} s a query"
    return said


def _task(system: System) -> object:
    own = system.reranker.options.instruction
    return own if system.instruction is None else system.instruction
