"""Image files that are small, and large once they are decoded; and damaged ones."""

from __future__ import annotations

import io
import random
import struct
import zlib

import pytest
from PIL import Image

from shared_core import ImageError
from shared_core.images.limits import ImageLimits
from shared_core.images.reading import read_image


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )  # fmt: skip


def png(width: int, height: int, pixels: bytes = b"no pixels", *, extra: bytes = b"") -> bytes:
    """Return a PNG file of one bit per pixel; what it holds is no image."""
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size", [(9000, 9000), (12_000, 12_000), (60_000, 60_000), (2**31 - 1, 1)])
def test_the_head_alone_tells_a_bomb(size: tuple[int, int]) -> None:
    """Were it decoded, another error would be raised: there are no pixels in it."""
    with pytest.raises(ImageError, match="pixels"):
        read_image(png(*size))


def test_warnings_that_are_errors_change_no_refusal() -> None:
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ImageError, match="pixels"):
        read_image(png(12_000, 12_000))


def test_compressed_text_in_an_image_is_bounded() -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**26)))
    with pytest.raises(ImageError, match="no image that can be read"):
        read_image(png(8, 8, zlib.compress(bytes(16)), extra=text))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_is_an_error_of_ours_or_none(form: str) -> None:
    """Whatever bytes are changed or missing, it is read, or `ImageError` says that it cannot be."""
    buffer = io.BytesIO()
    Image.effect_noise((24, 24), 50).convert("RGB").save(buffer, form)
    whole, rng = buffer.getvalue(), random.Random(5)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(min(len(damaged), 400))] = rng.randrange(256)
        try:
            read_image(
                bytes(damaged[: rng.randint(1, len(damaged))]), ImageLimits(max_pixels=2**20)
            )
        except ImageError:
            refused += 1
    assert refused > 20
