"""Contents with images as JSON has them: the shapes of vLLM, SGLang and Jina, and fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared_core.images.content import Content, ImageSource, has_images, is_source
from shared_core.images.parts import image_of

EXPECTED = 'neither a string nor {"text": "a string"}, {"image": "data:…"} or {"content": [parts]}'
_SHAPED = ("image", "image_url")


def content_of(value: Any) -> str | Content:
    """Return a JSON value as a content, or as its text if it has no image.

    Args:
        value: A string, a part, ``{"content": [part, …]}`` or ``[part, …]``.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("content"), list):
        value = value["content"]
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, (str, dict)) for part in parts):
        raise ValueError(EXPECTED)
    split: list[Any] = []
    for part in parts:  # Jina's may hold a text and an image
        has_image = isinstance(part, dict) and part.get("image") is not None
        if has_image and isinstance(part.get("text"), str):
            split += [{"image": part["image"]}, {"text": part["text"]}]
        else:
            split.append(part)
    try:
        content = Content.from_parts(split)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return content if has_images(content) else content.text


def is_shaped(value: Any) -> bool:
    """Return whether a JSON value is a content by its shape: a list of parts, or an image."""
    if isinstance(value, dict):
        is_part = any(value.get(name) is not None for name in _SHAPED)
        return is_part or isinstance(value.get("content"), list)
    return isinstance(value, list)


def images_in(value: Any, name: str) -> Sequence[ImageSource]:
    """Return the images that a field or a column holds; none if it is null or empty.

    Args:
        value: A path, a URL, a ``data:`` address, a part with an image, or a list of these.
        name: The field's, for messages.

    Raises:
        ValueError: It is none of these.
    """
    values = value if isinstance(value, list) else [] if value in (None, "") else [value]
    found = []
    for item in values:
        if isinstance(item, dict):
            try:
                item = image_of(item)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
        if not is_source(item):
            kind = "null" if item is None else f"of type {type(item).__name__}"
            raise ValueError(
                f"{name} is {kind}, expected a path, a URL or a data: address, or a list of them"
            )
        found.append(item)
    return found
