"""A file of calibrations for a backend whose margin is the number that a document is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared_core import DEFAULT_INSTRUCTION, Calibration, Reranker
from shared_core.calibration import NoAnswer, Platt, dumped, fitted_for

HALF = Platt(slope=0.5, intercept=-1.0)


class Margins:
    """A backend whose margin is the number that a document is, 0 if it is none."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        return [float(text) if text.strip("-.0123456789") == "" else 0.0 for text in documents]


def calibration_for(
    reranker: Reranker, instruction: str = DEFAULT_INSTRUCTION, **others: Any
) -> Calibration:
    """Return a calibration: half the margin less one; no answer, if none has a margin above 0."""
    weights = {"intercept": 0.0, "best": 1.0, "mean": 0.0, "candidates": 0.0}
    no_answer = NoAnswer(**weights, keep=0.95, threshold=0.5, queries=40)
    values: dict[str, Any] = {"probability": HALF, "no_answer": no_answer, **others}
    model = fitted_for(reranker.options, reranker.custom_scorer)
    return Calibration(fitted_for=model, instruction=instruction, **values)


def calibrated(folder: Path, **others: Any) -> Reranker:
    """Return a reranker on `Margins` with a calibration in a file."""
    path = folder / "calibration.json"
    path.write_text(dumped([calibration_for(Reranker(scorer=Margins()), **others)]), "utf-8")
    return Reranker(scorer=Margins(), calibration=str(path))
