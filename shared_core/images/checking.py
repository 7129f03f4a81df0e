"""Checks of images: what cannot be seen as it is meant is an error."""

from __future__ import annotations

import hashlib
from typing import Any

from shared_core.errors import ImageError, MissingDependencyError
from shared_core.images.decoding import flat, opened
from shared_core.images.limits import ImageLimits
from shared_core.images.picture import Picture

try:
    from PIL import Image, ImageFile
except ModuleNotFoundError as missing:
    raise MissingDependencyError("an image", "images") from missing

_EXPECTED = "expected one of JPEG, PNG, WebP, GIF, BMP and TIFF"
_AS_THEY_ARE = {"JPEG": "image/jpeg", "PNG": "image/png"}  # every server reads these alike
_LONGEST = 200  # times the shorter side, as in the model's own preprocessing
_ORIENTATION = 0x0112  # the EXIF tag


def read_bytes(data: bytes, limits: ImageLimits) -> Picture:
    """Return the picture in an image file.

    Raises:
        ImageError: It is none, or broken, animated, too large or of another format.
    """
    if not data:
        raise ImageError("it is empty: expected an image file")
    if len(data) > limits.max_bytes:
        raise ImageError(f"it has {len(data)} bytes, more than {limits.max_bytes}: make it smaller")
    try:
        image = opened(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{error}: make it smaller, at most {limits.max_pixels} pixels") from error
    except Exception as error:  # of whatever a decoder makes of foreign bytes
        raise ImageError(f"it is no image that can be read{_kind(data)}: {_EXPECTED}") from error
    with image:
        return read_pillow(image, limits, data)


def read_pillow(image: Image.Image, limits: ImageLimits, data: bytes | None = None) -> Picture:
    """Return the picture of a Pillow image, which is not changed.

    Args:
        image: The image.
        limits: How large it may be.
        data: The file that it was opened from, if that is at hand.

    Raises:
        ImageError: It is broken, animated, too large, or of a mode that is no picture.
    """
    width, height = image.size
    if not width or not height:
        raise ImageError(f"it has no pixels ({width} × {height})")
    if width * height > limits.max_pixels:
        raise ImageError(
            f"it has {width} × {height} pixels, more than {limits.max_pixels}: make it smaller"
        )
    if max(width, height) > _LONGEST * min(width, height):
        raise ImageError(
            f"it has {width} × {height} pixels: one side is more than {_LONGEST} times the other, "
            "which the model cannot see"
        )
    if data is not None and ImageFile.LOAD_TRUNCATED_IMAGES and not _ends(data, image.format):
        raise ImageError("it cannot be read to its end: its end is missing")
    try:
        # A photograph with a preview or a second view in it is one image nonetheless.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        pixels = flat(image) if frames == 1 else None
    except Exception as error:  # of whatever a decoder makes of foreign bytes
        raise ImageError(f"it cannot be read to its end: {error}") from error
    if pixels is None:
        raise ImageError(
            f"it has {frames} frames or pages: expected one picture, give each as an image"
        )
    is_as_it_is = image.mode in ("L", "RGB") and not _is_altered(image)
    media_type = _AS_THEY_ARE.get(image.format or "") if is_as_it_is else None
    return Picture(
        pixels,
        _digest(pixels),
        data=data,
        media_type=media_type,
    )


def _is_altered(image: Image.Image) -> bool:
    """Return whether `flat` shows something else than the file's own pixels."""
    orientation: Any = image.getexif().get(_ORIENTATION, 1)
    return orientation != 1 or image.has_transparency_data


def _digest(pixels: Image.Image) -> str:
    digest = hashlib.blake2b(repr(pixels.size).encode(), digest_size=16)
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _ends(data: bytes, form: str | None) -> bool:
    """Return whether a file has its end, where Pillow was told by this process not to care."""
    ends = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND", "GIF": b"\x3b"}
    end = ends.get(form or "")
    return end is None or end in data[-4096:]


_KINDS = {
    b"%PDF": "a PDF: make an image of each page",
    b"<svg": "an SVG: draw it as a PNG",
    b"<?xm": "XML: draw an SVG as a PNG",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"8BPS": "a Photoshop file",
    b"%!PS": "PostScript",
}


def _kind(data: bytes) -> str:
    """Return what a file is that is none of the formats, in brackets, if its beginning tells."""
    start = data[:64].lstrip()
    if start[4:8] == b"ftyp":
        return f" (a {start[8:12].decode('ascii', 'replace')} file)"
    found = _KINDS.get(start[:4])
    return f" (it is {found})" if found else ""
