"""Parts of contents, as chat messages have them: the shapes of OpenAI, LangChain and Jina."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared_core.images.content import ImageSource

EXPECTED = (
    'expected {"type": "text", "text": …}, {"type": "image_url", "image_url": {"url": …}} or '
    '{"type": "image", "url" or "base64": …}'
)
_NAMED = ("url", "image_url", "path", "image", "base64", "data", "bytes")


def is_text(part: Mapping[str, Any]) -> bool:
    """Return whether a part is a text."""
    return part.get("type", "text") == "text" and isinstance(part.get("text"), str)


def image_of(part: Mapping[str, Any]) -> ImageSource:
    """Return where the image of a part is.

    Raises:
        ValueError: It has none, or one that is somewhere else; says what it has.
    """
    kind = part.get("type", "image")
    if kind not in ("image", "image_url", "input_image", "image_bytes"):
        raise ValueError(f"is of type {kind!r}, and texts and images alone are judged: {EXPECTED}")
    source = part.get("source")
    for holder in (part, source if isinstance(source, Mapping) else {}):
        for name in _NAMED:
            value = holder.get(name)
            if isinstance(value, Mapping):
                value = value.get("url")
            if value is not None:
                return _as_source(name, value, holder)
    raise ValueError(f"has no image, but {', '.join(map(repr, part)) or 'nothing'}: {EXPECTED}")


def _as_source(name: str, value: Any, holder: Mapping[str, Any]) -> ImageSource:
    """Return a value as an image source: what is named base64 is decoded."""
    is_coded = name == "base64" or (name == "data" and isinstance(value, str))
    if is_coded and isinstance(value, str) and not value.startswith("data:"):
        media_type = holder.get("mime_type") or holder.get("media_type") or "image/png"
        return f"data:{media_type};base64,{value}"
    return value  # type: ignore[no-any-return]  # `Content` checks what it is


def of_base64(data: str | bytes) -> ImageSource:
    """Return an image that is stored as base64, as a ``data:`` address, or as its bytes."""
    if isinstance(data, str):
        return data if data.startswith("data:") else f"data:image/png;base64,{data}"
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return data
