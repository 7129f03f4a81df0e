"""Evaluation of reranking on your own data: figures before and after, and a report."""

from __future__ import annotations

from qwen3_rerank.reading.text import InputError
from shared_core.errors import MissingDependencyError

try:
    from qwen3_rerank.evaluation.dataset import Dataset
    from qwen3_rerank.evaluation.findings import SystemReport
    from qwen3_rerank.evaluation.first_stage import FirstStage
    from qwen3_rerank.evaluation.measures import MEASURES
    from qwen3_rerank.evaluation.readers import read_dataset, read_unjudged
    from qwen3_rerank.evaluation.report import Report
    from qwen3_rerank.evaluation.run import evaluate
    from qwen3_rerank.evaluation.scoring import Progress
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in (
        "bm25s",
        "ir_measures",
        "numpy",
        "scipy",
    ):
        raise
    raise MissingDependencyError("an evaluation", "evaluate") from error

__all__ = [
    "MEASURES",
    "Dataset",
    "FirstStage",
    "InputError",
    "Progress",
    "Report",
    "SystemReport",
    "evaluate",
    "read_dataset",
    "read_unjudged",
]
