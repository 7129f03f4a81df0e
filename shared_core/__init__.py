"""Rerank documents with Qwen3-Reranker. Importing this needs pydantic only."""

from shared_core.calibration import Calibration
from shared_core.cascade import Cascade
from shared_core.check.report import CheckReport, Finding
from shared_core.errors import (
    ClosedError,
    ConfigurationError,
    DeviceMemoryError,
    ForkedProcessError,
    HubUnreachableError,
    ImageError,
    ImageUnreachableError,
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
    UnsupportedByServerError,
    UnsupportedModelError,
)
from shared_core.images.content import Content
from shared_core.images.picture import Picture
from shared_core.options import DEFAULT_MODEL, RankingOptions, RerankerOptions
from shared_core.prompt import DEFAULT_INSTRUCTION, render_prompt
from shared_core.reranker import Reranker
from shared_core.results import Evidence, Judged, RankedDocument, Ranking
from shared_core.scorers.remote.dialects.base import Batch, Dialect, Parsed, Row
from shared_core.scoring import (
    AsyncLoadingScorer,
    AsyncScorer,
    ClosingScorer,
    LoadedScorer,
    LoadingScorer,
    ManyScorer,
    Scored,
    Scorer,
    ScoreRequest,
    SeeingScorer,
    TokenCounter,
    UnloadingScorer,
)
from shared_core.windows.folding import TooManyWindowsError, WindowPlan

__all__ = [
    "DEFAULT_INSTRUCTION",
    "DEFAULT_MODEL",
    "AsyncLoadingScorer",
    "AsyncScorer",
    "Batch",
    "Calibration",
    "Cascade",
    "CheckReport",
    "ClosedError",
    "ClosingScorer",
    "ConfigurationError",
    "Content",
    "DeviceMemoryError",
    "Dialect",
    "Evidence",
    "Finding",
    "ForkedProcessError",
    "HubUnreachableError",
    "ImageError",
    "ImageUnreachableError",
    "InvalidReplyError",
    "Judged",
    "LoadedScorer",
    "LoadingScorer",
    "ManyScorer",
    "MissingDependencyError",
    "ModelLoadError",
    "Parsed",
    "Picture",
    "QueryTooLongError",
    "RankedDocument",
    "Ranking",
    "RankingOptions",
    "RemoteError",
    "RerankError",
    "Reranker",
    "RerankerOptions",
    "Row",
    "ScoreRequest",
    "Scored",
    "Scorer",
    "ScoringError",
    "SeeingScorer",
    "ServerStatusError",
    "ServerUnreachableError",
    "TextEncodingError",
    "TokenCounter",
    "TooManyWindowsError",
    "UnloadingScorer",
    "UnsupportedByServerError",
    "UnsupportedModelError",
    "WindowPlan",
    "render_prompt",
]
