"""Metrics for Prometheus. One registry per application, so that two can live in a process."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from shared_core.scoring import Scored

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_FILL = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


class Metrics:
    """The metrics of one service.

    Args:
        version: Of the software, for ``qwen3_rerank_info``.
        model: The served name.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, version: str, model: str) -> None:
        registry = self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        info = Gauge(
            "qwen3_rerank_info", "What is running.", ["version", "model"], registry=registry
        )
        info.labels(version, model).set(1)
        self.ready = Gauge("qwen3_rerank_ready", "1 when it takes requests.", registry=registry)
        self.loaded = Gauge(
            "qwen3_rerank_model_loaded",
            "1 while a local model is in memory; it may be freed while ready (unload_after).",
            registry=registry,
        )
        self.requests = Counter(
            "qwen3_rerank_requests",
            "HTTP requests by outcome; 499 is a client that hung up.",
            ["route", "method", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "qwen3_rerank_request_seconds",
            "From the head of a request to the end of its reply.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.errors = Counter(
            "qwen3_rerank_errors", "Failures of scoring by kind.", ["kind"], registry=registry
        )
        self.queued_requests = Gauge(
            "qwen3_rerank_queue_requests", "Accepted, not answered.", registry=registry
        )
        self.queued_documents = Gauge(
            "qwen3_rerank_queue_documents", "Documents of those.", registry=registry
        )
        self.body_bytes = Gauge(
            "qwen3_rerank_body_bytes",
            "Of request bodies not yet answered, what they have beyond 64 KiB each.",
            registry=registry,
        )
        self.connections_closed = Counter(
            "qwen3_rerank_connections_closed",
            "Connections closed for a limit.",
            ["reason"],
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "qwen3_rerank_queue_seconds",
            "From acceptance to the first forward.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_documents = Histogram(
            "qwen3_rerank_batch_documents",
            "Documents handed to the model at once.",
            buckets=_COUNTS,
            registry=registry,
        )
        self.batch_requests = Histogram(
            "qwen3_rerank_batch_requests",
            "Requests that shared such a batch.",
            buckets=_COUNTS,
            registry=registry,
        )
        self.batch_fill = Histogram(
            "qwen3_rerank_batch_fill",
            "Estimated tokens of a batch over the token budget of one forward.",
            buckets=_FILL,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "qwen3_rerank_batch_seconds", "Scoring one batch.", buckets=_SECONDS, registry=registry
        )
        self.documents = Counter("qwen3_rerank_documents", "Documents scored.", registry=registry)
        self.tokens = Counter(
            "qwen3_rerank_prompt_tokens",
            "Tokens of their prompts, the query's part counted for each.",
            registry=registry,
        )
        self.truncated = Counter(
            "qwen3_rerank_truncated_documents",
            "Documents whose end was cut.",
            registry=registry,
        )

    def count(self, answers: Sequence[Sequence[Scored]]) -> None:
        """Add what was scored."""
        for scored in answers:
            self.documents.inc(len(scored))
            self.tokens.inc(sum(document.n_tokens or 0 for document in scored))
            self.truncated.inc(sum(bool(document.truncated) for document in scored))

    def text(self) -> bytes:
        """Return the exposition."""
        return generate_latest(self.registry)
