"""What images become: pixels, digests and data: addresses; and what is refused."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shared_core import Content, ImageError
from shared_core.images.limits import ImageLimits
from shared_core.images.reading import read_image

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)


def file_of(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(size: tuple[int, int] = (40, 30), color: Any = RED, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, color)


def left_red_right_blue() -> Image.Image:
    image = picture((40, 30), BLUE)
    image.paste(RED, (0, 0, 20, 30))
    return image


def test_every_kind_of_source_is_the_same_picture(tmp_path: Path) -> None:
    data = file_of(left_red_right_blue())
    path = tmp_path / "two colours.png"
    path.write_bytes(data)
    address = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    sources = [path, str(path), path.as_uri(), data, address, left_red_right_blue()]
    found = {read_image(source) for source in sources}
    assert len(found) == 1
    (seen,) = found
    assert seen.size == (40, 30)
    assert seen.pixels.mode == "RGB"
    assert seen.pixels.getpixel((5, 5)) == RED
    assert seen.pixels.getpixel((35, 5)) == BLUE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats_are_read(form: str) -> None:
    seen = read_image(file_of(picture(), form)).pixels.getpixel((20, 15))
    assert max(abs(a - b) for a, b in zip(seen, RED, strict=True)) <= 2


def test_an_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: its left is the top
    turned = read_image(file_of(left_red_right_blue(), exif=exif))
    assert turned.size == (30, 40)
    assert turned.pixels.getpixel((15, 5)) == RED
    assert turned.pixels.getpixel((15, 35)) == BLUE
    # Servers need not know of it.
    assert read_image(turned.data_url()) == turned


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA"])
def test_transparent_parts_are_white(mode: str) -> None:
    image = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 30))
    seen = read_image(image.convert(mode) if mode != "P" else image.quantize()).pixels
    assert seen.getpixel((30, 15)) == WHITE
    assert seen.getpixel((5, 15)) == (0, 0, 0)


def test_other_modes_are_converted_as_pillow_does() -> None:
    for image in (
        picture(color=40_000, mode="I;16"),
        picture(color=77, mode="L"),
        picture(color=1, mode="1"),
        picture(color=(0, 255, 255, 0), mode="CMYK"),
        left_red_right_blue().convert("P", palette=Image.Palette.ADAPTIVE, colors=2),
    ):
        assert read_image(image).pixels.tobytes() == image.convert("RGB").tobytes(), image.mode


def test_servers_get_the_file_itself_where_all_see_the_same_in_it() -> None:
    photograph = file_of(left_red_right_blue(), "JPEG")
    sent = read_image(photograph).data_url()
    assert base64.b64decode(sent.partition(",")[2]) == photograph
    assert sent.startswith("data:image/jpeg;base64,")
    of_webp = read_image(file_of(left_red_right_blue(), "WEBP", lossless=True))
    assert of_webp.data_url().startswith("data:image/png;base64,")
    assert read_image(of_webp.data_url()) == of_webp


def test_a_large_picture_is_decoded_anew_and_the_same() -> None:
    data = file_of(Image.effect_noise((2000, 1500), 60).convert("RGB"))
    seen = read_image(data)
    assert seen.pixels is not seen.pixels
    assert read_image(seen.pixels) == seen


def test_a_photograph_with_a_second_view_is_one_image() -> None:
    data = file_of(picture(), "MPO", save_all=True, append_images=[picture(color=BLUE)])
    seen = read_image(data).pixels.getpixel((20, 15))
    assert seen[0] > 200


def truncated(form: str) -> bytes:
    data = file_of(Image.effect_noise((100, 100), 60).convert("RGB"), form)
    return data[: len(data) // 2]


REFUSED = {
    "nothing": (b"", "empty"),
    "a text": (b"Paris is the capital of France.", "no image that can be read.*JPEG, PNG"),
    "a PDF": (b"%PDF-1.7 and more", "a PDF.*an image of each page"),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
    "an HEIC": (b"\x00\x00\x00\x18ftypheic" + bytes(20), "heic"),
    "half a PNG": (truncated("PNG"), "to its end"),
    "half a JPEG": (truncated("JPEG"), "to its end"),
    "half a WebP": (truncated("WEBP"), "read"),
    "an animation": (
        file_of(picture(), "GIF", save_all=True, append_images=[picture(color=BLUE)]),
        "2 frames or pages",
    ),
    "an animated PNG": (
        file_of(picture(), "PNG", save_all=True, append_images=[picture(color=BLUE)]),
        "2 frames or pages",
    ),
    "pages": (
        file_of(picture(), "TIFF", save_all=True, append_images=[picture(color=BLUE)]),
        "2 frames or pages",
    ),
    "a line": (file_of(picture((1000, 2))), "one side is more than 200 times"),
    "no address": ("s3://bucket/picture.png", "s3: is no address"),
    "no base64": ("data:image/png;base64,!!!", "no base64"),
    "half an address": ("data:image/png", "no comma"),
    "another machine": ("file://host/picture.png", "another machine"),
    "no file": ("/nowhere/picture.png", "no such file"),
    "a folder": ("/", "a folder"),
    "a null byte": ("pic\0ture.png", "cannot be read|no such file"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_seen_is_an_error(what: str) -> None:
    source, message = REFUSED[what]
    with pytest.raises(ImageError, match=message):
        read_image(source)


def test_an_image_may_be_too_large() -> None:
    data = file_of(picture((100, 100)))
    with pytest.raises(ImageError, match=f"{len(data)} bytes, more than 50"):
        read_image(data, ImageLimits(max_bytes=50))
    with pytest.raises(ImageError, match="100 × 100 pixels, more than 9999"):
        read_image(data, ImageLimits(max_pixels=9999))


def test_truncated_files_are_refused_where_the_process_told_pillow_to_take_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    for form in ("PNG", "JPEG"):
        with pytest.raises(ImageError, match="to its end"):
            read_image(truncated(form))
        assert read_image(file_of(picture(), form)).size == (40, 30)


def test_contents_are_values() -> None:
    data = file_of(picture())
    assert Content("a", data) == Content("a", [data])
    assert hash(Content("a", [picture()])) == hash(Content("a", [picture()]))
    assert Content("a", [picture()]) == Content("a", [picture()])
    assert Content("a", [picture()]) != Content("a", [picture(color=BLUE)])
    assert Content(images=[bytearray(data)]).images == (data,)
    assert str(len(data)) in repr(Content(images=data))
    with pytest.raises(TypeError, match="must be a path, a URL"):
        Content(images=[3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="text must be a string"):
        Content(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not read yet"):
        _ = Content(images=data).pictures
