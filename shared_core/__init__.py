"""Rerank documents with Qwen3-Reranker. Importing this needs pydantic only."""

from shared_core.check.report import CheckReport, Finding
from shared_core.errors import (
    ClosedError,
    ConfigurationError,
    DeviceMemoryError,
    ForkedProcessError,
    HubUnreachableError,
    InvalidReplyError,
    MissingDependencyError,
    ModelLoadError,
    QueryTooLongError,
    RemoteError,
    RerankError,
    ScoringError,
    ServerStatusError,
    ServerUnreachableError,
    TextEncodingError,
    UnsupportedModelError,
)
from shared_core.options import DEFAULT_MODEL, RankingOptions, RerankerOptions
from shared_core.prompt import DEFAULT_INSTRUCTION, render_prompt
from shared_core.reranker import Reranker
from shared_core.results import RankedDocument
from shared_core.scoring import AsyncScorer, ManyScorer, Scored, Scorer, ScoreRequest

__all__ = [
    "DEFAULT_INSTRUCTION",
    "DEFAULT_MODEL",
    "AsyncScorer",
    "CheckReport",
    "ClosedError",
    "ConfigurationError",
    "DeviceMemoryError",
    "Finding",
    "ForkedProcessError",
    "HubUnreachableError",
    "InvalidReplyError",
    "ManyScorer",
    "MissingDependencyError",
    "ModelLoadError",
    "QueryTooLongError",
    "RankedDocument",
    "RankingOptions",
    "RemoteError",
    "RerankError",
    "Reranker",
    "RerankerOptions",
    "ScoreRequest",
    "Scored",
    "Scorer",
    "ScoringError",
    "ServerStatusError",
    "ServerUnreachableError",
    "TextEncodingError",
    "UnsupportedModelError",
    "render_prompt",
]
