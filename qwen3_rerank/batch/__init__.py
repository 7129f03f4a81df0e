"""Batches: a table of any size to scores or ranked lists, on one machine or on a Ray cluster."""

from __future__ import annotations

from shared_core.errors import MissingDependencyError

try:
    from qwen3_rerank.batch.columns import Columns
    from qwen3_rerank.batch.errors import BatchError, BatchInputError, ChangedJobError
    from qwen3_rerank.batch.plan import BatchPlan
    from qwen3_rerank.batch.ray_options import RayOptions
    from qwen3_rerank.batch.run import BatchProgress, BatchSummary, plan_batch, run_batch
    from qwen3_rerank.reading.folders import FolderError, LockedError
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "pyarrow":
        raise
    raise MissingDependencyError("a batch", "batch") from error

__all__ = [
    "BatchError",
    "BatchInputError",
    "BatchPlan",
    "BatchProgress",
    "BatchSummary",
    "ChangedJobError",
    "Columns",
    "FolderError",
    "LockedError",
    "RayOptions",
    "plan_batch",
    "run_batch",
]
