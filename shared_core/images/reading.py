"""Reading of the images of contents, wherever they are."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from shared_core.errors import ImageError
from shared_core.images.content import (
    Content,
    ImageSource,
    has_images,
    is_pillow_image,
)
from shared_core.images.limits import ImageLimits
from shared_core.images.picture import Picture
from shared_core.images.showing import shown_address

if TYPE_CHECKING:
    from shared_core.scoring import ScoreRequest

    Request = TypeVar("Request", bound=ScoreRequest)

_AT_ONCE = 8  # images fetched at the same time
_LIMITS = ImageLimits()
_FETCHED = ("http", "https")


def are_read(requests: Sequence[ScoreRequest]) -> bool:
    """Return whether all are texts, or contents of images that are read."""
    return all(
        isinstance(item, str) or (has_images(item) and item.is_read) for item in _items(requests)
    )


def read_requests(
    requests: Sequence[Request], limits: ImageLimits = _LIMITS, *, nothing: str = ""
) -> Sequence[Request]:
    """Return requests whose images are read and checked. Blocks: not for event loops.

    A content without images becomes its text. Each image that several contents name is read once.

    Args:
        requests: Queries with their documents, any of them a text or a `Content`.
        limits: How large images may be, and where they may come from.
        nothing: What stands for a content without a text and without images.

    Raises:
        ImageError: One cannot be read; names the document by its place, and the query if there are
            several.
        MissingDependencyError: Pillow is not installed.
    """
    if are_read(requests):
        return requests
    reader = _Reader(limits, nothing)
    reader.fetch(_items(requests))
    several = len(requests) > 1
    return [
        replace(
            request,
            query=reader.read(request.query, f"query {number}" if several else "the query"),
            documents=[
                reader.read(item, f"document {at}" + (f" of query {number}" if several else ""))
                for at, item in enumerate(request.documents)
            ],
        )
        for number, request in enumerate(requests)
    ]


def read_image(source: ImageSource, limits: ImageLimits = _LIMITS) -> Picture:
    """Return one image, read and checked. Blocks: not for event loops.

    Raises:
        ImageError: It cannot be read.
        MissingDependencyError: Pillow is not installed.
    """
    return _Reader(limits).picture(source)


def _items(requests: Iterable[ScoreRequest]) -> Iterator[str | Content]:
    for request in requests:
        yield request.query
        yield from request.documents


class _Reader:
    """Reads images, each of them once."""

    def __init__(self, limits: ImageLimits, nothing: str = "") -> None:
        self._limits, self._nothing = limits, nothing
        self._fetched: dict[str, bytes | Exception] = {}
        self._pictures: dict[str | bytes, Picture] = {}

    def fetch(self, items: Iterable[str | Content]) -> None:
        """Fetch all images that are named by URLs, some at the same time."""
        if self._limits.addresses == "none":
            return
        urls = {
            image
            for item in items
            if not isinstance(item, str)
            for image in item.images
            if isinstance(image, str) and _scheme(image) in _FETCHED
        }
        if len(urls) > 1:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="qwen3-rerank-images") as pool:
                self._fetched = dict(zip(urls, pool.map(self._attempt, urls), strict=True))

    def read(self, item: str | Content, name: str) -> str | Content:
        """Return a content with its images read; the name is for errors."""
        if isinstance(item, str):
            return item
        if not item.images:
            return item.text or self._nothing
        several = len(item.images) > 1
        pictures = []
        for number, image in enumerate(item.images):
            try:
                pictures.append(self.picture(image))
            except ImageError as error:  # noqa: PERF203  # decoding takes longer
                which = f"image {number} of {name}" if several else f"the image of {name}"
                raise type(error)(f"{which} ({shown_source(image)}): {error}") from error
        return replace(item, images=pictures)

    def picture(self, source: ImageSource) -> Picture:
        """Return one image."""
        if isinstance(source, Picture):
            return source
        from shared_core.images.checking import read_bytes, read_pillow

        if not isinstance(source, (str, bytes, os.PathLike)):
            return read_pillow(source, self._limits)
        key = source if isinstance(source, (str, bytes)) else os.fspath(source)
        if key not in self._pictures:
            self._pictures[key] = read_bytes(self._bytes(source), self._limits)
        return self._pictures[key]

    def _bytes(self, source: str | bytes | os.PathLike[str]) -> bytes:
        if isinstance(source, bytes):
            return source
        scheme = _scheme(source) if isinstance(source, str) else ""
        if scheme == "data":
            return _of_data_url(str(source), self._limits)
        if scheme in _FETCHED:
            return self._by_url(str(source))
        if scheme not in ("", "file"):
            raise ImageError(f"{scheme}: is no address that is fetched: give {_SOURCES}")
        if not self._limits.paths:
            raise ImageError("it is no data: address, and files are not read here")
        return _of_file(_path(source) if scheme else source, self._limits)

    def _by_url(self, url: str) -> bytes:
        if self._limits.addresses == "none":
            raise ImageError("URLs are not fetched here: send the image as a data: address")
        found = self._fetched[url] if url in self._fetched else self._attempt(url)
        if isinstance(found, Exception):
            raise found
        return found

    def _attempt(self, url: str) -> bytes | Exception:
        from shared_core.images.fetching import fetch

        try:
            return fetch(url, self._limits)
        except ImageError as error:
            return error


_SOURCES = "a path, an http or https URL, a data: address, bytes or a Pillow image"


def shown_source(source: ImageSource) -> str:
    """Return where an image comes from, for errors: no data, no user, no password, no query."""
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    if is_pillow_image(source):
        return "a Pillow image"
    return shown_address(str(source))


def is_path(source: object) -> TypeGuard[str]:
    """Return whether the source of an image is a path, as text."""
    return isinstance(source, str) and not _scheme(source)


def _scheme(source: str) -> str:
    """Return the scheme of an address, ``""`` of a path; one letter is a drive of Windows."""
    head, colon, rest = source[:2048].partition(":")
    is_scheme = colon and len(head) > 1 and head.replace("+", "").isalnum() and head.isascii()
    return head.lower() if is_scheme and (head.lower() == "data" or rest.startswith("//")) else ""


def _path(url: str | os.PathLike[str]) -> str:
    try:
        parts = urlsplit(str(url))
    except ValueError as error:
        raise ImageError(f"its address cannot be read: give {_SOURCES}") from error
    if parts.netloc not in ("", "localhost"):
        raise ImageError(f"{parts.netloc} is another machine: give {_SOURCES}")
    return url2pathname(parts.path)


def _of_file(path: str | os.PathLike[str], limits: ImageLimits) -> bytes:
    try:
        if not os.path.isfile(path):
            known = "it is a folder" if os.path.isdir(path) else "there is no such file"
            raise ImageError(f"{known}: expected {_SOURCES}")
        with open(path, "rb") as file:
            return file.read(limits.max_bytes + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"the file cannot be read: {error}") from error


def _of_data_url(url: str, limits: ImageLimits) -> bytes:
    head, comma, data = url.partition(",")
    if not comma:
        raise ImageError("the data: address has no comma: expected data:image/png;base64,…")
    if len(data) > 4 * limits.max_bytes:  # even if every byte is written as three characters
        raise ImageError(f"it has more than {limits.max_bytes} bytes: make it smaller")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"its data: address is no base64: {error}") from error
