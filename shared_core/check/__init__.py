"""Whether a model or a server scores as Qwen3-Reranker should: `Reranker.check`."""

from shared_core.check.report import CheckReport, Finding
from shared_core.check.run import check

__all__ = ["CheckReport", "Finding", "check"]
