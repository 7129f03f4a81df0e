"""Images in requests: the shapes of vLLM, SGLang and Jina, and reading them within limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema

from qwen3_rerank.reading.contents import EXPECTED, content_of
from qwen3_rerank.service.failures import RefusedError, refusal_of
from qwen3_rerank.service.settings import ServiceSettings
from shared_core.errors import ImageError
from shared_core.images.content import Content
from shared_core.images.limits import ImageLimits
from shared_core.images.reading import are_read, read_requests
from shared_core.scoring import ScoreRequest

_PART = {
    "anyOf": [
        {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        {"type": "object", "properties": {"image": {"type": "string"}}, "required": ["image"]},
        {
            "type": "object",
            "properties": {
                "type": {"const": "image_url"},
                "image_url": {"type": "object", "properties": {"url": {"type": "string"}}},
            },
            "required": ["type", "image_url"],
        },
    ]
}
_PARTS = {"type": "array", "items": _PART}
_ITEM: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        *_PART["anyOf"],
        {"type": "object", "properties": {"content": _PARTS}, "required": ["content"]},
        _PARTS,
    ]
}


def _contents(value: Any) -> list[str | Content]:
    if isinstance(value, (str, dict)):
        value = [value]
    if not isinstance(value, list):
        raise ValueError("expected a list of strings")
    found = []
    for index, item in enumerate(value):
        try:
            found.append(content_of(item))
        except ValueError as error:  # noqa: PERF203  # the first one ends it
            why = f": {error}" if isinstance(item, (dict, list)) and item else ""
            raise ValueError(f"item {index} is {EXPECTED}{why}") from None
    return found


# Any: pydantic would look into `Content`, whose sources need no Pillow as long as there is none.
QueryContent = Annotated[Any, PlainValidator(content_of), WithJsonSchema(_ITEM)]
"""A text, or a content with images."""

Contents = Annotated[
    list[Any],
    PlainValidator(_contents),
    WithJsonSchema({"anyOf": [{"type": "array", "items": _ITEM}, {"type": "string"}]}),
]
"""A list of them."""


def n_images(requests: Sequence[ScoreRequest]) -> int:
    """Return the number of images in requests."""
    items = [item for request in requests for item in (request.query, *request.documents)]
    return sum(len(item.images) for item in items if isinstance(item, Content))


def image_limits(settings: ServiceSettings) -> ImageLimits:
    """Return how large images may be, and where they may come from: never files of this machine."""
    return ImageLimits(
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        paths=False,
        addresses="public" if settings.image_urls else "none",
    )


def read_images(requests: Sequence[ScoreRequest], settings: ServiceSettings) -> list[ScoreRequest]:
    """Return requests with their images read: of data: addresses, and of URLs if that is allowed.

    No file of this machine is read, whatever a request names. Blocks: not for event loops.

    Raises:
        RefusedError: There are too many, or one cannot be read.
    """
    if are_read(requests):
        return list(requests)
    if (count := n_images(requests)) > settings.max_images:
        raise RefusedError(
            422, f"{count} images: this service takes {settings.max_images} in a request"
        )
    try:
        return list(read_requests(requests, image_limits(settings)))
    except ImageError as error:
        raise refusal_of(error) from error
