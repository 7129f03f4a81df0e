"""The calibration of one system: what the file has, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen3_rerank.evaluation.calibrating import (
    FOLDS,
    LEAST_RIGHT,
    Candidates,
    Fit,
    fit,
    fit_of,
    held_out,
    place_of,
    scores_of,
)
from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.first_stage import FirstStage
from qwen3_rerank.evaluation.no_answer import NoAnswerReport, fit_no_answer
from qwen3_rerank.evaluation.passages import Judged
from qwen3_rerank.evaluation.systems import System
from qwen3_rerank.reading.text import InputError
from shared_core.calibration import Calibration, dumped, fitted_for
from shared_core.options import resolve_instruction


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration with its reliability.

    Attributes:
        fitted: What the file has.
        passages, right: The number of passages that it was fitted on, and of right ones.
        scores: The fit of the scores as they are.
        probabilities: The fit of the probabilities, each by a calibration that has not seen its
            query.
        share: The fit of one and the same probability for all, the share of right passages.
        no_answer: Whether any candidate answers; ``None`` if there are too few queries.
    """

    fitted: Calibration
    passages: int
    right: int
    scores: Fit
    probabilities: Fit
    share: Fit
    no_answer: NoAnswerReport | None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures; the calibration as in its file."""
        return {
            name: asdict(value) if isinstance(value, Fit) else value
            for name, value in vars(self).items()
            if name not in ("fitted", "no_answer")
        } | {
            "fitted": self.fitted.model_dump(mode="json"),
            "no_answer": None
            if self.no_answer is None
            else {
                name: value for name, value in asdict(self.no_answer).items() if name != "fitted"
            },
        }

    def in_words(self) -> str:
        """Return the main figures in a sentence or two."""
        before, after = self.scores.reliability.error, self.probabilities.reliability.error
        text = (
            f"calibrated: the expected calibration error on queries not seen is {after:.4f}, that "
            f"of the scores {before:.4f}"
        )
        if self.no_answer is None:
            return text + "; too few queries to tell those that nothing answers"
        fitted = self.no_answer.fitted
        level = next(level for level in self.no_answer.levels if level.keep == fitted.keep)
        return (
            f"{text}. Nothing answers where no_answer is above {fitted.threshold:.3f}: on queries "
            f"not seen, that keeps {level.kept:.1%} of the answerable ones ({fitted.keep:.0%} were "
            f"to be kept) and notices {level.noticed:.1%} of those without an answer"
        )


def check(path: Path, systems: Sequence[System], data: Dataset, stage: FirstStage) -> None:
    """Raise if there will be no calibration, before anything is scored.

    Raises:
        InputError: There are too few right or wrong passages, or several instructions, or there is
            no folder for the file.
    """
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder for the calibration; make it first")
    for system in systems:
        _instruction(system, data)
    right = [
        (place_of(query, FOLDS), data.relevant[query].get(name, 0) > 0)
        for query, ranked in stage.candidates.items()
        for name, _ in ranked
    ]
    n_right = sum(is_right for _, is_right in right)
    for fold in range(FOLDS):
        others = [is_right for place, is_right in right if place != fold]
        if min(others.count(True), others.count(False)) < LEAST_RIGHT:
            raise InputError(
                f"{data.name} has {n_right} right and {len(right) - n_right} wrong passages among "
                f"its candidates: a calibration needs {LEAST_RIGHT} of both at least in every four "
                "fifths of the queries; give more queries"
            )


def calibration_of(
    system: System,
    data: Dataset,
    stage: FirstStage,
    order: Mapping[str, Sequence[tuple[str, float]]],
    keep: float,
) -> CalibrationReport:
    """Return the calibration of a system.

    Args:
        data: The queries and judgements, which `check` let pass.
        order: Query id → documents with margins, as the system ranked them.
        keep: The share of answerable queries that the threshold for no answer keeps.
    """
    queries = {}
    for query, ranked in order.items():
        margins, grades = dict(ranked), data.relevant[query]
        names = [name for name, _ in stage.candidates[query] if name in margins]
        if names:
            right = [grades.get(name, 0) > 0 for name in names]
            queries[query] = Candidates([margins[name] for name in names], right)
    n_right = sum(sum(query.right) for query in queries.values())
    passages = sum(len(query.right) for query in queries.values())
    curve, by_others = fit(list(queries.values())), held_out(queries)
    no_answer = fit_no_answer(queries, keep)
    scores, probabilities = fit_of(scores_of(queries)), fit_of(by_others)
    share = n_right / passages
    constant = {
        name: Judged([share] * len(query.right), query.right) for name, query in queries.items()
    }
    fitted = Calibration(
        fitted_for=fitted_for(system.reranker.options, system.reranker.custom_scorer),
        instruction=_instruction(system, data),
        probability=curve,
        no_answer=None if no_answer is None else no_answer.fitted,
        fitted_on={
            "data": data.name,
            "data_sha256": data.fingerprint(),
            "first_stage": stage.name,
            "queries": len(queries),
            "passages": passages,
            "right": n_right,
            "expected_calibration_error": {
                "scores": scores.reliability.error,
                "probabilities_on_held_out_queries": probabilities.reliability.error,
            },
        },
    )
    return CalibrationReport(
        fitted, passages, n_right, scores, probabilities, fit_of(constant), no_answer
    )


def save(path: Path, reports: Sequence[CalibrationReport]) -> None:
    """Write the file of calibrations."""
    path.write_text(dumped([report.fitted for report in reports]), "utf-8")


def _instruction(system: System, data: Dataset) -> str:
    """Return the instruction that all queries had.

    Raises:
        InputError: They had several: a function of the query made them.
    """
    configured = system.reranker.options.instruction
    found = {
        resolve_instruction(system.instruction, configured, text) for text in data.queries.values()
    }
    if len(found) > 1:
        raise InputError(
            f"the instruction of {system.name} depends on the query ({len(found)} different ones): "
            "a calibration is of one instruction; give a text"
        )
    return found.pop()
