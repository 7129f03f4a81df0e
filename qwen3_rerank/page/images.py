"""Images as documents of the page: read within limits, and drawn small for the ranking."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from qwen3_rerank.page.inputs import PageError
from qwen3_rerank.page.models import PageModel
from qwen3_rerank.page.store import Upload
from qwen3_rerank.page.texts import Language, say
from shared_core.errors import ImageError
from shared_core.images.content import Content
from shared_core.images.limits import ImageLimits
from shared_core.images.picture import Picture
from shared_core.images.reading import read_image

_THUMBNAIL = (320, 320)  # twice the pixels that are shown, for sharp screens
_READER = ThreadPoolExecutor(1, "qwen3-rerank-page-image")


@dataclass(frozen=True, slots=True)
class ImageDocument:
    """An image that was added at the page.

    Attributes:
        name: The name of its file.
        content: What is judged.
        thumbnail: The image drawn anew and small, as a ``data:`` address.
    """

    name: str
    content: Content
    thumbnail: str


async def image_documents(
    uploads: Sequence[Upload], model: PageModel, language: Language
) -> list[ImageDocument]:
    """Return the images that were added, in order.

    Raises:
        PageError: There are too many, or one cannot be read; names its file.
    """
    if len(uploads) > model.max_images:
        count, most = len(uploads), model.max_images
        raise PageError(say("too_many_images", language, count=count, most=most))
    loop = asyncio.get_running_loop()
    found = []
    for upload in uploads:
        if len(upload.content) > (most := model.image_limits.max_bytes):
            raise PageError(say("large_image", language, name=upload.name, most=most))
        read = partial(_image, upload, model.image_limits)
        try:
            found.append(await loop.run_in_executor(_READER, read))
        except ImageError as error:
            reason = say("bad_image", language, name=upload.name, reason=error)
            raise PageError(reason) from None
    return found


def _image(upload: Upload, limits: ImageLimits) -> ImageDocument:
    picture = read_image(upload.content, limits)
    return ImageDocument(upload.name, Content(images=[picture]), _thumbnail(picture))


def _thumbnail(picture: Picture) -> str:
    small = picture.pixels.copy()
    small.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
