"""Batches: a table of any size to scores or ranked lists, on one machine or on a Ray cluster."""

from __future__ import annotations

from shared_core.errors import MissingDependencyError

try:
    from shared_core.batch.columns import Columns
    from shared_core.batch.errors import BatchError, BatchInputError, ChangedJobError
    from shared_core.batch.plan import BatchPlan
    from shared_core.batch.ray_options import RayOptions
    from shared_core.batch.run import BatchProgress, BatchSummary, plan_batch, run_batch
    from shared_core.folders import FolderError, LockedError
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
