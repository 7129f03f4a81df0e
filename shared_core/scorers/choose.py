"""Choice of the backend. Each backend is imported only when it is used."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from shared_core.errors import MissingDependencyError
from shared_core.options import RerankerOptions
from shared_core.scorers.local.checkpoints.model_source import locate_model
from shared_core.scoring import Scorer

logger = logging.getLogger("qwen3_rerank")


def make_scorer(options: RerankerOptions) -> Scorer:
    """Return the backend. It loads its model, or asks its server, on first use.

    Raises:
        ModelLoadError: There is no such model; said before torch is imported.
        MissingDependencyError: The extra that it needs is not installed.
    """
    if names := options.without_effect:
        logger.warning(
            "without effect with the backend %s: %s", options.chosen_backend, ", ".join(names)
        )
    if options.is_remote:
        try:
            from shared_core.scorers.remote.scorer import RemoteScorer
        except ModuleNotFoundError as error:
            raise MissingDependencyError("scoring by a server", "remote") from error
        return RemoteScorer(options)
    if options.backend == "vllm":
        _refuse_without("vllm", feature='backend="vllm"', extra="vllm")
        options = locate_model(options)
        try:
            from shared_core.scorers.vllm import VllmScorer
        except ModuleNotFoundError as error:
            raise MissingDependencyError('backend="vllm"', "vllm") from error
        return VllmScorer(options)
    _refuse_without(
        "torch", "safetensors", "tokenizers", feature="scoring with a local model", extra="local"
    )
    options = locate_model(options)
    try:
        from shared_core.scorers.local.scorer import TransformersScorer
    except ModuleNotFoundError as error:
        raise MissingDependencyError("scoring with a local model", "local") from error
    return TransformersScorer(options)


def _refuse_without(*packages: str, feature: str, extra: str) -> None:
    """Raise if a package is not installed, before a model is downloaded for it."""
    if any(find_spec(package) is None for package in packages):
        raise MissingDependencyError(feature, extra)
