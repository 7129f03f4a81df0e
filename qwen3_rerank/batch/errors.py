"""Errors that stop a batch. Rows that cannot be scored go to the error file instead."""

from __future__ import annotations

from shared_core.errors import RerankError


class BatchError(RerankError):
    """A batch cannot go on; what is written stays, and a restart goes on from there."""


class BatchInputError(BatchError, ValueError):
    """The input cannot be read as rows at all: no such file, no such column, a wrong type."""


class ChangedJobError(BatchError, ValueError):
    """The folder holds a job with other options, another input or another model than this one."""
