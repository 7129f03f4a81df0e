"""What an evaluation found, and the files it is written to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qwen3_rerank.evaluation.dataset import Dataset
from qwen3_rerank.evaluation.first_stage import FirstStage
from qwen3_rerank.evaluation.measures import shown
from qwen3_rerank.evaluation.passages import BestF1, Calibration, Judged
from qwen3_rerank.evaluation.significance import Difference, Estimate
from qwen3_rerank.evaluation.suggestion import Suggestion
from qwen3_rerank.evaluation.trec import run_lines
from qwen3_rerank.reading.folders import OutputFolder

VERSION = 1
FIRST = "first stage"


@dataclass(frozen=True)
class Timing:
    """How long the calls took, in seconds; this alone differs from run to run.

    Attributes:
        queries: How many were timed.
        mean, median, p95: Of one query with all its candidates.
    """

    queries: int
    mean: float
    median: float
    p95: float


@dataclass(frozen=True)
class SystemReport:
    """One system's part.

    Attributes:
        letter: What plots and comparisons call it.
        name: The model, and the server where one scores.
        instruction: The task sentence; of a function, that it is one.
        told: What its scores depend on: model, files, dtype, options.
        values: Measure → query id → value.
        figures: Measure → mean with its interval.
        order: Query id → document ids with margins, best first.
        judged: The same as scores, with what is right.
        tokens_per_query, tokens_per_document: Means of prompt tokens, each document's prompt
            counted whole; ``None`` where the backend cannot tell.
        truncated: How many documents lost their end; ``None`` likewise.
        timing: ``None`` if no query was timed.
        best_f1: The threshold that tells right from wrong best; ``None`` if no candidate is right.
        calibration: How far scores are probabilities.
        suggestion: What to configure; ``None`` likewise.
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


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same queries.

    Attributes:
        measure: What was compared.
        first, second: Letters, or ``"first stage"``.
        difference: How much better the second is.
        p_corrected: Its p after Holm's correction for all comparisons of this measure.
    """

    measure: str
    first: str
    second: str
    difference: Difference
    p_corrected: float


@dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Attributes:
        dataset: What was asked.
        first_stage: Where the candidates come from.
        top_n: How many there are per query at most.
        seed: Of the intervals and tests.
        measures: Names, the main one first.
        before: Measure → query id → value, of the first stage.
        before_figures: Measure → mean with its interval.
        ceiling: Measure → mean of the candidates in the best order.
        right: How many relevant documents there are, and how many are among the candidates.
        systems: What was compared.
        comparisons: Every two of them, and each with the first stage, by every measure.
        environment: Versions.
        command: What was typed; ``None`` from Python.
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
    environment: Mapping[str, str] = field(repr=False)
    command: str | None = None

    def comparison(self, measure: str, first: str, second: str) -> Comparison:
        """Return how the second system compares with the first."""
        return next(
            one
            for one in self.comparisons
            if (one.measure, one.first, one.second) == (measure, first, second)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, without times: from the same scores always the same."""
        data = self.dataset
        found, there = self.right[1], self.right[0]
        return {
            "version": VERSION,
            "dataset": {
                "name": data.name,
                "fingerprint": data.fingerprint(),
                "documents": len(data.documents),
                "queries": len(data.queries),
                "relevant": there,
                "notes": [*data.notes, *self.first_stage.notes],
            },
            "candidates": {
                "first_stage": self.first_stage.name,
                "top_n": self.top_n,
                "mean": _mean_length(self.first_stage.candidates),
                "relevant_among_them": found,
                "ceiling": dict(self.ceiling),
            },
            "seed": self.seed,
            "before": {name: asdict(one) for name, one in self.before_figures.items()},
            "systems": [_system(one) for one in self.systems],
            "comparisons": [asdict(one) for one in self.comparisons],
            "environment": dict(self.environment),
            "command": self.command,
        }

    def timing(self) -> dict[str, Any]:
        """Return what differs from run to run."""
        return {
            one.letter: None if one.timing is None else asdict(one.timing) for one in self.systems
        }

    def html(self) -> str:
        """Return the report as one page that needs nothing else."""
        from qwen3_rerank.evaluation.page import render

        return render(self)

    def save(self, folder: str | Path) -> Path:
        """Write all files into a folder, and return the path of ``report.html``.

        ``report.html``, ``report.json``, ``timing.json``, ``queries.jsonl`` (the figures of every
        query) and ``runs/*.run`` (TREC).

        Raises:
            FolderError: A link is in the place of ``runs``; links are not followed.
            OSError: There is no room.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        out = OutputFolder(Path(folder))
        runs = out.folder("runs", create=True)
        _write(out, "report.json", _json(self.to_dict()))
        _write(out, "timing.json", _json(self.timing()))
        _write(out, "queries.jsonl", "".join(self._query_lines()))
        orders = {"first_stage": self.first_stage.candidates}
        orders |= {one.letter: one.order for one in self.systems}
        for name, order in orders.items():
            _write(runs, f"{name}.run", "".join(run_lines(order, f"qwen3_{name}")))
        _write(out, "report.html", self.html())
        return Path(folder) / "report.html"

    def _query_lines(self) -> Sequence[str]:
        lines = []
        for query, text in self.dataset.queries.items():
            figures = {FIRST: {name: self.before[name][query] for name in self.measures}}
            for one in self.systems:
                figures[one.letter] = {name: one.values[name][query] for name in self.measures}
            line = {"query": query, "text": text, "figures": figures}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        return lines

    def __str__(self) -> str:
        """Return the figures as a few lines of text."""
        names = [shown(name) for name in self.measures]
        width = max(len(FIRST), *(len(f"{one.letter}  {one.name}") for one in self.systems))
        rows = [(FIRST, self.before_figures)]
        rows += [(f"{one.letter}  {one.name}", one.figures) for one in self.systems]
        lines = [f"{'':{width}}  " + "  ".join(f"{name:>10}" for name in names)]
        for label, figures in rows:
            values = "  ".join(f"{figures[name].mean:10.4f}" for name in self.measures)
            lines.append(f"{label:{width}}  {values}")
        return "\n".join(lines)


def _system(one: SystemReport) -> dict[str, Any]:
    return {
        "letter": one.letter,
        "name": one.name,
        "instruction": one.instruction,
        "told": dict(one.told),
        "figures": {name: asdict(value) for name, value in one.figures.items()},
        "tokens_per_query": one.tokens_per_query,
        "tokens_per_document": one.tokens_per_document,
        "truncated": one.truncated,
        "best_f1": None if one.best_f1 is None else asdict(one.best_f1),
        "calibration": asdict(one.calibration),
        "suggestion": None if one.suggestion is None else asdict(one.suggestion),
    }


def _mean_length(candidates: Mapping[str, Sequence[Any]]) -> float:
    return sum(map(len, candidates.values())) / len(candidates)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"


def _write(folder: OutputFolder, name: str, text: str) -> None:
    """Write a file whole, or leave the one before."""
    with folder.replacing(name) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
