"""Does reranking help on data of your own? Figures before and after, and a report."""

from __future__ import annotations

from shared_core.document_files import InputError
from shared_core.errors import MissingDependencyError

try:
    from shared_core.evaluation.dataset import Dataset, read_dataset
    from shared_core.evaluation.first_stage import FirstStage
    from shared_core.evaluation.measures import MEASURES
    from shared_core.evaluation.report import Report, SystemReport
    from shared_core.evaluation.run import evaluate
    from shared_core.evaluation.scoring import Progress
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
]
