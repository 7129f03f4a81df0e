"""`Content`, a query or document with images, and what the core asks of one, or of a plain text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Union

from shared_core.errors import ImageError
from shared_core.images.parts import EXPECTED, image_of, is_text
from shared_core.images.picture import Picture
from shared_core.images.showing import shown_address

if TYPE_CHECKING:
    from PIL.Image import Image

ImageSource = Union[str, "os.PathLike[str]", bytes, "Image", Picture]
"""A path, an http(s) URL, a ``data:`` address, an image file's bytes, or a Pillow image."""

VISION_MODEL = "Qwen/Qwen3-VL-Reranker-2B"
_CHARACTERS = 4  # of a text, that take a model about as long as one token of an image


@dataclass(frozen=True, slots=True)
class Content:
    """A query or document with images. Without any, it is its text.

    Args:
        text: The text. It comes after the images, as in the prompt that the model was trained with.
        images: Paths, URLs (http, https), ``data:`` addresses, bytes of image files, or Pillow
            images; a single one will do. They are read when the content is scored.

    Raises:
        TypeError: The text is no string, or an image is none of these.

    >>> Content("Sales by year", ["chart.png"])
    Content(text='Sales by year', images=('chart.png',))
    """

    text: str = ""
    images: Sequence[ImageSource] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"a content's text must be a string, got {type(self.text).__name__}")
        given: Any = self.images
        if is_source(given):
            given = (given,)
        if not isinstance(given, Iterable):
            raise TypeError(
                "a content's images must be a list of paths, URLs, data: addresses, bytes or "
                f"Pillow images, got {type(given).__name__}"
            )
        object.__setattr__(self, "images", tuple(map(_checked, given)))

    @classmethod
    def from_parts(cls, parts: Iterable[str | Mapping[str, Any]]) -> Content:
        """Return the content of a chat message's parts, as OpenAI and LangChain have them.

        Args:
            parts: Texts, and mappings such as ``{"type": "text", "text": …}``,
                ``{"type": "image_url", "image_url": {"url": …}}``, ``{"type": "image", …}``.

        Raises:
            TypeError, ValueError: A part is none that is known; names its place.
        """
        texts: list[str] = []
        images: list[ImageSource] = []
        for place, part in enumerate(parts):
            if isinstance(part, str):
                texts.append(part)
            elif not isinstance(part, Mapping):
                kind = type(part).__name__
                raise TypeError(f"part {place} of the content is {kind}: {EXPECTED}")
            elif is_text(part):
                texts.append(part["text"])
            else:
                try:
                    images.append(image_of(part))
                except ValueError as error:
                    raise ValueError(f"part {place} of the content {error}") from None
        return cls("\n".join(texts), images)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The images, read and checked, as a scorer receives them.

        Raises:
            TypeError: They are not read yet.
        """
        if not self.is_read:
            raise TypeError("the images of this content are not read yet: Reranker reads them")
        return self.images  # type: ignore[return-value]  # all of them are pictures

    @property
    def is_read(self) -> bool:
        """Whether all images are read and checked."""
        return all(isinstance(image, Picture) for image in self.images)

    def __hash__(self) -> int:
        return hash((self.text, *map(_hashable, self.images)))

    def __repr__(self) -> str:
        images = ", ".join(map(_shown, self.images))
        comma = "," if len(self.images) == 1 else ""
        return f"Content(text={self.text!r}, images=({images}{comma}))"


def text_of(item: str | Content) -> str:
    """Return a text, or a content's text."""
    return item if isinstance(item, str) else item.text


def has_images(item: str | Content) -> bool:
    """Return whether there are images to see."""
    return not isinstance(item, str) and bool(item.images)


def pictures_of(item: str | Content) -> tuple[Picture, ...]:
    """Return the images of a content that was read; a text has none."""
    return () if isinstance(item, str) else item.pictures


def plain(item: str | Content) -> str | Content:
    """Return a content without images as its text, and everything else unchanged."""
    return item if has_images(item) else text_of(item)


def with_text(item: str | Content, text: str) -> str | Content:
    """Return a text, or a content with another text and the same images."""
    return text if isinstance(item, str) else replace(item, text=text)


def words_of(item: str | Content) -> str:
    """Return what two documents are compared by where there are no embeddings.

    It is the text, and for every image a word that equal images have in common.
    """
    return " ".join([text_of(item), *(picture.digest for picture in pictures_of(item))])


def size_of(item: str | Content) -> int:
    """Return how long a text or content takes a model, in characters of text."""
    tokens = sum(picture.n_tokens for picture in pictures_of(item))
    return len(text_of(item)) + _CHARACTERS * tokens


def key_parts(item: str | Content) -> Iterator[str | None]:
    """Yield what tells items apart, for a digest: no two different items yield the same."""
    if isinstance(item, str):
        yield item
        return
    yield None
    yield item.text
    for picture in item.pictures:
        yield picture.digest
    yield None


def only_text(item: str | Content, name: str, model: str) -> str:
    """Return the text of an item for a model that reads text alone.

    Args:
        item: A query or document.
        name: What it is called in the error.
        model: The name of the model, or of the scorer.

    Raises:
        ImageError: It has images.
    """
    if has_images(item):
        raise ImageError(
            f"{name} has an image, and {model} reads text alone: use a model that sees, such as "
            f'model="{VISION_MODEL}" (docs/images.md)'
        )
    return text_of(item)


def is_source(value: Any) -> bool:
    """Return whether a value is one image, without importing Pillow."""
    is_plain = isinstance(value, (str, bytes, bytearray, memoryview, os.PathLike, Picture))
    return is_plain or is_pillow_image(value)


def is_pillow_image(value: Any) -> bool:
    """Return whether a value is a Pillow image, without importing Pillow."""
    return any(
        kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__
    )


def _checked(image: Any) -> ImageSource:
    if not is_source(image):
        raise TypeError(
            "an image must be a path, a URL, a data: address, bytes or a Pillow image, got "
            f"{type(image).__name__}"
        )
    if isinstance(image, (bytearray, memoryview)):
        return bytes(image)
    return image  # type: ignore[no-any-return]  # checked


def _hashable(image: ImageSource) -> object:
    """Return what equal images have in common: Pillow's cannot be hashed."""
    return (image.mode, image.size) if is_pillow_image(image) else image  # type: ignore[union-attr]


def _shown(image: ImageSource) -> str:
    if isinstance(image, bytes):
        return f"<{len(image)} bytes>"
    if not isinstance(image, str):
        return repr(image)
    shown = shown_address(image)
    return repr(shown[:60] + "…" if len(shown) > 80 else shown)
