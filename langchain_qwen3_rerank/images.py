"""Images of LangChain documents, and queries in the parts of LangChain's messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.documents.base import Blob

from shared_core import Content
from shared_core.images.content import ImageSource, is_source
from shared_core.images.parts import image_of, is_text

DocumentImages = str | Callable[[Document], Any]
"""The metadata key that holds a document's images, or a function that returns them."""

Query = str | Content | Sequence[str | Mapping[str, Any]]
"""A text, or a content with images, or the parts of a message."""


def query_content(query: Query) -> str | Content:
    """Return a query of parts as a content; a text and a content as they are.

    Raises:
        TypeError, ValueError: A part is none that is known.
    """
    is_parts = isinstance(query, Sequence) and not isinstance(query, (str, bytes))
    return Content.from_parts(query) if is_parts else query  # type: ignore[arg-type, return-value]


def document_contents(
    documents: Sequence[Document], texts: Sequence[str], how: DocumentImages | None
) -> Sequence[str | Content]:
    """Return what each document is judged by: its text, with its images if it has some.

    Args:
        documents: The documents. They are not changed.
        texts: The text of each.
        how: ``None`` looks for no images. A key of the metadata, or a function, gives an image, a
            part of a message that holds one, or a list of these; or ``None``, for no image. What a
            function returns may hold texts, too, which then stand for the document's own: a
            `Content`, or parts among which there is a text.

    Raises:
        TypeError, ValueError: It gives something else; names the document.
    """
    if how is None:
        return texts
    found: list[str | Content] = []
    for index, (document, text) in enumerate(zip(documents, texts, strict=True)):
        given = how(document) if callable(how) else document.metadata.get(how)
        try:
            found.append(text if given is None else _content(given, text))
        except (TypeError, ValueError) as error:
            where = "document_images" if callable(how) else f"metadata[{how!r}]"
            message = f"{where} of document {index}: {error}"
            raise type(error)(message) from error
    return found


def _content(given: Any, text: str) -> str | Content:
    if isinstance(given, Content):
        return given
    if is_source(given) or isinstance(given, (Mapping, Blob)) or not isinstance(given, Iterable):
        given = [given]
    parts = list(given)
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and is_text(part)]
    images = [_image(part) for part in parts if not (isinstance(part, Mapping) and is_text(part))]
    return Content("\n".join(texts) if texts else text, images)


def _image(part: Any) -> ImageSource:
    if isinstance(part, Blob):
        return part.as_bytes()
    return image_of(part) if isinstance(part, Mapping) else part
