"""Texts, a query, and a handler that remembers events."""

from __future__ import annotations

from typing import Any

from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent

QUERY = "Why does dough rise?"
TEXTS = [
    "The heron stands in the shallow water and waits for fish.",
    "A lighthouse keeper writes down the weather every evening.",
    "Bread rises because yeast makes gas in the dough.",
    "The tram to the harbour leaves every ten minutes.",
    "Granite is made of quartz, feldspar and mica.",
    "An old clock in the tower strikes thirteen.",
    "Bees tell each other the way to the flowers by dancing.",
]


class EventRecorder(BaseEventHandler):
    """Keeps every event it is sent."""

    events: list[Any] = []  # noqa: RUF012 - pydantic copies it

    @classmethod
    def class_name(cls) -> str:
        return "EventRecorder"

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.events.append(event)

    @property
    def starts(self) -> list[ReRankStartEvent]:
        return [event for event in self.events if isinstance(event, ReRankStartEvent)]

    @property
    def ends(self) -> list[ReRankEndEvent]:
        return [event for event in self.events if isinstance(event, ReRankEndEvent)]
