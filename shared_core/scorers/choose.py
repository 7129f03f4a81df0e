"""Which backend the options ask for. Each one is imported only when it is."""

from __future__ import annotations

from shared_core.errors import MissingDependencyError
from shared_core.options import RerankerOptions
from shared_core.scorers.base import Scorer


def make_scorer(options: RerankerOptions) -> Scorer:
    """Return the backend; its model is loaded, or its server asked, on first use.

    Raises:
        MissingDependencyError: The extra that it needs is not installed.
    """
    if options.is_remote:
        try:
            from shared_core.scorers.remote.scorer import RemoteScorer
        except ModuleNotFoundError as error:
            raise MissingDependencyError("scoring by a server", "remote") from error
        return RemoteScorer(options)
    if options.backend == "vllm":
        try:
            from shared_core.scorers.vllm import VllmScorer
        except ModuleNotFoundError as error:
            raise MissingDependencyError('backend="vllm"', "vllm") from error
        return VllmScorer(options)
    try:
        from shared_core.scorers.transformers import TransformersScorer
    except ModuleNotFoundError as error:
        raise MissingDependencyError("scoring with a local model", "local") from error
    return TransformersScorer(options)
