"""Metrics for Prometheus. One registry per application, so that two can live in a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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

from qwen3_rerank.service.replies import n_tokens
from shared_core.scoring import Scored

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_FILL = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


class Metrics:
    """The metrics of one service.

    Args:
        version: The version of this package, for ``qwen3_rerank_info``.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, version: str, model: str) -> None:
        registry = self.registry = CollectorRegistry()
        for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
            registry.register(collector)
        own: dict[str, Any] = {"namespace": "qwen3_rerank", "registry": registry}
        info = Gauge(
            "info", "Version and model of this service; always 1.", ["version", "model"], **own
        )
        info.labels(version, model).set(1)
        self.ready = Gauge("ready", "1 while the service accepts requests, else 0.", **own)
        self.loaded = Gauge(
            "model_loaded",
            "1 while a local model is in memory, else 0; unload_after frees it while ready.",
            **own,
        )
        self.requests = Counter(
            "requests",
            "HTTP requests by status; 499 means that the client disconnected.",
            ["route", "method", "status"],
            **own,
        )
        self.seconds = Histogram(
            "request_seconds",
            "Seconds from the head of a request to the end of its reply.",
            ["route"],
            buckets=_SECONDS,
            **own,
        )
        self.errors = Counter("errors", "Failed scorings by kind of error.", ["kind"], **own)
        self.queued_requests = Gauge(
            "queue_requests", "Requests that are accepted and not yet answered.", **own
        )
        self.queued_documents = Gauge(
            "queue_documents", "Documents of the requests in the queue.", **own
        )
        self.body_bytes = Gauge(
            "body_bytes",
            "Bytes of unanswered request bodies, without the first 64 KiB of each.",
            **own,
        )
        self.connections_closed = Counter(
            "connections_closed",
            "Connections closed because of a limit, by reason.",
            ["reason"],
            **own,
        )
        self.queue_seconds = Histogram(
            "queue_seconds",
            "Seconds from the acceptance of a request to its first forward pass.",
            buckets=_SECONDS,
            **own,
        )
        self.batch_documents = Histogram(
            "batch_documents", "Documents in one batch of the model.", buckets=_COUNTS, **own
        )
        self.batch_requests = Histogram(
            "batch_requests", "Requests that shared a batch.", buckets=_COUNTS, **own
        )
        self.batch_fill = Histogram(
            "batch_fill",
            "Estimated tokens of a batch, divided by the token budget of a forward pass.",
            buckets=_FILL,
            **own,
        )
        self.batch_seconds = Histogram(
            "batch_seconds", "Seconds to score one batch.", buckets=_SECONDS, **own
        )
        self.documents = Counter("documents", "Documents scored.", **own)
        self.tokens = Counter(
            "prompt_tokens",
            "Tokens of the scored prompts; the query's part counts for each document.",
            **own,
        )
        self.truncated = Counter(
            "truncated_documents", "Scored documents whose end was cut.", **own
        )

    def count(self, answers: Sequence[Sequence[Scored]]) -> None:
        """Add documents that were scored."""
        for scored in answers:
            self.documents.inc(len(scored))
            self.tokens.inc(n_tokens(scored) or 0)
            self.truncated.inc(sum(bool(document.truncated) for document in scored))

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
