"""The results of an evaluation, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen3_rerank.evaluation.calibrated import CalibrationReport
from qwen3_rerank.evaluation.cascading import CascadeReport
from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.depth import Depth
from qwen3_rerank.evaluation.evidence import EvidenceReport
from qwen3_rerank.evaluation.first_stage import FirstStage
from qwen3_rerank.evaluation.fusing import FusionReport
from qwen3_rerank.evaluation.judge import Agreement
from qwen3_rerank.evaluation.passages import BestF1, Calibration, Judged
from qwen3_rerank.evaluation.significance import Difference, Estimate
from qwen3_rerank.evaluation.suggestion import Suggestion

FIRST = "first stage"


@dataclass(frozen=True)
class Timing:
    """The duration of the calls, in seconds; only this differs from run to run.

    Attributes:
        mean, median, p95: Seconds of one query with all its candidates.
    """

    queries: int
    mean: float
    median: float
    p95: float


@dataclass(frozen=True)
class SystemReport:
    """The results of one system.

    Attributes:
        letter: The letter in plots and comparisons.
        name: The model, and the server where one scores.
        instruction: The task sentence; of a function, that it is one.
        told: Everything that its scores depend on: model, files, dtype, options.
        values: Measure → query id → value.
        figures: Measure → mean with its interval.
        order: Query id → document ids with margins, best first.
        judged: The same as scores, with what is right.
        tokens_per_query, tokens_per_document: Means of prompt tokens, each document's prompt
            counted whole; ``None`` where the backend cannot tell.
        truncated: The number of documents that were cut; ``None`` likewise.
        timing: ``None`` if no query was timed.
        best_f1: The threshold that tells right from wrong best; ``None`` if no candidate is right.
        calibration: How well scores agree with probabilities.
        suggestion: The suggested settings; ``None`` likewise.
        fusion: The system fused with the first stage.
        depths: The main measure with the first candidates alone reranked; the last one is all.
        evidence: Evidence against known answers; ``None`` if that was not asked for.
        agreement: How far it agrees with the judge; ``None`` without one.
        calibrated: The calibration that was fitted, if that was asked for.
    """

    letter: str
    name: str
    instruction: str
    told: Mapping[str, Any]
    values: Mapping[str, Mapping[str, float]] = field(repr=False)
    figures: Mapping[str, Estimate]
    order: Mapping[str, Sequence[tuple[str, float]]] = field(repr=False)
    judged: Mapping[str, Judged] = field(repr=False)
    tokens_per_query: float | None
    tokens_per_document: float | None
    truncated: int | None
    timing: Timing | None
    best_f1: BestF1 | None
    calibration: Calibration
    suggestion: Suggestion | None
    fusion: FusionReport
    depths: Sequence[Depth] = ()
    evidence: EvidenceReport | None = None
    agreement: Agreement | None = None
    calibrated: CalibrationReport | None = None


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same queries.

    Attributes:
        first, second: Letters, or ``"first stage"``.
        difference: The gain of the second over the first.
        p_corrected: The p-value after Holm's correction for all comparisons of this measure.
    """

    measure: str
    first: str
    second: str
    difference: Difference
    p_corrected: float


@dataclass(frozen=True)
class Findings:
    """The results of an evaluation.

    Attributes:
        dataset: The queries and documents.
        first_stage: The source of the candidates.
        top_n: The most candidates per query.
        measures: Names, the main one first.
        before: Measure → query id → value, of the first stage.
        before_figures: Measure → mean with its interval.
        ceiling: Measure → mean of the candidates in the best order.
        right: The number of relevant documents, and of those among the candidates.
        systems: The systems that were compared.
        comparisons: Every two of them, and each with the first stage, by every measure.
        cascades: Every two of them in turn, that have other models and the same instruction.
        environment: Versions.
        command: The command line; ``None`` from Python.
    """

    dataset: Dataset = field(repr=False)
    first_stage: FirstStage = field(repr=False)
    top_n: int
    seed: int
    measures: Sequence[str]
    before: Mapping[str, Mapping[str, float]] = field(repr=False)
    before_figures: Mapping[str, Estimate]
    ceiling: Mapping[str, float]
    right: tuple[int, int]
    systems: Sequence[SystemReport]
    comparisons: Sequence[Comparison]
    cascades: Sequence[CascadeReport]
    environment: Mapping[str, str] = field(repr=False)
    command: str | None = None

    def comparison(self, measure: str, first: str, second: str) -> Comparison:
        """Return the comparison of the second system with the first."""
        return next(
            comparison
            for comparison in self.comparisons
            if (comparison.measure, comparison.first, comparison.second) == (measure, first, second)
        )
