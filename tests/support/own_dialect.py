"""A dialect of the user's own, the least that one must be."""

from __future__ import annotations

from typing import Any


class OwnDialect:
    """A wire format of the user's own."""

    name = "own"

    def build(self, batch: Any) -> dict[str, Any]:
        return {"query": batch.query, "documents": list(batch.documents)}

    def parse(self, reply: Any, batch: Any) -> Any:
        return reply
