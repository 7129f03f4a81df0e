"""`Picture`, an image that was read and checked. Importing this needs no Pillow."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_KEPT = 2**21  # pixels of an image that stays decoded, which is more than the model sees
_PATCH = 32 * 32  # pixels of one token
_FEWEST, _MOST = 4, 1800  # tokens of an image, as the model's authors bound them


class Picture:
    """An image as a model sees it: upright, opaque, in three colours of eight bits.

    Two pictures of the same pixels are equal, whatever files they come from.

    Args:
        pixels: The image, in mode RGB.
        digest: A digest of size and pixels, in hexadecimal digits.
        data: The image file's bytes, to decode a large image anew.
        media_type: Their type, such as ``image/png``, if they show the same pixels to everybody.

    Attributes:
        digest: What equal pictures have in common.
        size: Width and height, in pixels.
    """

    __slots__ = ("_data", "_media_type", "_pixels", "digest", "size")

    def __init__(
        self,
        pixels: Image,
        digest: str,
        *,
        data: bytes | None = None,
        media_type: str | None = None,
    ) -> None:
        self.digest = digest
        self.size: tuple[int, int] = pixels.size
        self._data, self._media_type = data, media_type
        is_small = self.size[0] * self.size[1] <= _KEPT
        self._pixels = pixels if data is None or is_small else None

    @property
    def pixels(self) -> Image:
        """The image, in mode RGB. A large one is decoded anew each time, to spare memory."""
        if self._pixels is not None:
            return self._pixels
        from shared_core.images.decoding import decoded

        assert self._data is not None  # noqa: S101  # else the pixels are kept
        return decoded(self._data)

    @property
    def n_tokens(self) -> int:
        """About as many tokens as a model takes for it."""
        width, height = self.size
        return min(max(width * height // _PATCH, _FEWEST), _MOST)

    def data_url(self) -> str:
        """Return the image as a ``data:`` address, for servers: the file's own bytes, or a PNG."""
        encoded, media_type = self._data, self._media_type
        if encoded is None or media_type is None:
            from shared_core.images.decoding import png

            encoded, media_type = png(self.pixels), "image/png"
        return f"data:{media_type};base64,{base64.b64encode(encoded).decode('ascii')}"

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Picture) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Picture({self.size[0]}×{self.size[1]}, {self.digest[:8]})"
