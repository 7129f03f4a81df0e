"""A scorer of a user's own that sees: of each document, how red its images are, and its text."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageStat

from shared_core import Content


def swatch(color: str, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """Return a picture of one colour."""
    return Image.new("RGB", size, color)


class Redness:
    """Scores documents by the red of their images, less the query's; a text by its length.

    Attributes:
        calls: What it was given, (query, documents) of each call.
    """

    takes_images = True

    def __init__(self) -> None:
        self.calls: list[tuple[str | Content, list[str | Content]]] = []

    def score(
        self, query: str | Content, documents: Sequence[str | Content], *, instruction: str
    ) -> list[float]:
        self.calls.append((query, list(documents)))
        return [self._red(document) - self._red(query) for document in documents]

    def _red(self, item: str | Content) -> float:
        if isinstance(item, str):
            return len(item) / 100
        red, green, _ = ImageStat.Stat(item.pictures[0].pixels).mean
        return (red - green) / 255
