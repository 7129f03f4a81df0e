"""Contents with images in the forms that servers take, and which servers see at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

from shared_core.errors import ImageError
from shared_core.images.content import Content, has_images

ImageShape = Literal["none", "content", "parts", "single"]
"""How a server takes images: not at all; ``{"content": [part, …]}`` (vLLM); ``[part, …]`` (SGLang);
``{"image": …}`` or ``{"text": …}``, one of both (Jina)."""

Sent = str | dict[str, Any] | list[dict[str, Any]]
"""A text, or a content in one of these shapes."""

# Published names of rerankers that see: Qwen3-VL-Reranker, jina-reranker-m0 and the like.
_SEEING = re.compile(r"(?<![a-z])vl(?![a-z])|reranker-m\d", re.IGNORECASE)


def names_a_seeing_model(names: Iterable[str]) -> bool:
    """Return whether one of a server's names of its model is that of a reranker that sees.

    >>> names_a_seeing_model(["Qwen/Qwen3-VL-Reranker-2B"])
    True
    >>> names_a_seeing_model(["Qwen/Qwen3-Reranker-0.6B", "/models/vllm"])
    False
    """
    return any(map(_SEEING.search, names))


def sent(
    item: str | Content, name: str, shape: ImageShape, neutralise: Callable[[str], str]
) -> Sent:
    """Return a query or document in the form that a server takes.

    Args:
        item: The text, or the content with its images read.
        name: What it is called in errors.
        shape: How the server takes images.
        neutralise: Makes a text safe that the server tokenises.

    Raises:
        ImageError: The server cannot take it.
    """
    if isinstance(item, str):
        return neutralise(item)
    if not has_images(item):
        return neutralise(item.text)
    urls = [picture.data_url() for picture in item.pictures]
    if shape == "single":
        if len(urls) > 1 or item.text:
            raise ImageError.of(
                item,
                name,
                f"has {len(urls)} images and a text of {len(item.text)} characters: this server "
                "takes a text or one image",
            )
        return sent_image(urls[0], shape)
    texts = [{"type": "text", "text": neutralise(item.text)}] if item.text else []
    return _shaped([_part(url) for url in urls] + texts, shape)


def sent_image(url: str, shape: ImageShape) -> Sent:
    """Return an image alone, by its ``data:`` address, in the form that a server takes."""
    return {"image": url} if shape == "single" else _shaped([_part(url)], shape)


def _part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _shaped(parts: list[dict[str, Any]], shape: ImageShape) -> Sent:
    return {"content": parts} if shape == "content" else parts
