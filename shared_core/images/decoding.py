"""Decoding of images with Pillow. Formats are few, so that few decoders meet foreign bytes."""

from __future__ import annotations

import io

from shared_core.errors import MissingDependencyError

try:
    from PIL import Image, ImageOps
except ModuleNotFoundError as missing:
    raise MissingDependencyError("an image", "images") from missing

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def opened(data: bytes) -> Image.Image:
    """Return an image file's image, of which nothing but the head is read yet."""
    return Image.open(io.BytesIO(data), formats=FORMATS)


def decoded(data: bytes) -> Image.Image:
    """Return the pixels of a file that was read before."""
    with opened(data) as image:
        return flat(image)


def flat(image: Image.Image) -> Image.Image:
    """Return a copy: upright by its EXIF orientation, opaque on white, in mode RGB.

    Everything else is converted as Pillow does, which cuts values of 16 bits at 255.
    """
    upright = ImageOps.exif_transpose(image)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    layer = upright.convert("RGBA")
    ground = Image.new("RGB", layer.size, "white")
    ground.paste(layer, mask=layer.getchannel("A"))
    return ground


def png(pixels: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG")
    return buffer.getvalue()
