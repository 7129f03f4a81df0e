"""Rerank documents with Qwen3-Reranker. Importing this needs pydantic only."""

from shared_core.errors import (
    ClosedError,
    ConfigurationError,
    DeviceMemoryError,
    MissingDependencyError,
    ModelLoadError,
    QueryTooLongError,
    RerankError,
    ScoringError,
    TextEncodingError,
    UnsupportedModelError,
)
from shared_core.options import DEFAULT_MODEL, RankingOptions, RerankerOptions
from shared_core.prompt import DEFAULT_INSTRUCTION, render_prompt
from shared_core.reranker import Reranker
from shared_core.results import RankedDocument
from shared_core.scorers.base import ManyScorer, Scored, Scorer, ScoreRequest

__all__ = [
    "DEFAULT_INSTRUCTION",
    "DEFAULT_MODEL",
    "ClosedError",
    "ConfigurationError",
    "DeviceMemoryError",
    "ManyScorer",
    "MissingDependencyError",
    "ModelLoadError",
    "QueryTooLongError",
    "RankedDocument",
    "RankingOptions",
    "RerankError",
    "Reranker",
    "RerankerOptions",
    "ScoreRequest",
    "Scored",
    "Scorer",
    "ScoringError",
    "TextEncodingError",
    "UnsupportedModelError",
    "render_prompt",
]
