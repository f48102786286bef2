from __future__ import annotations

import errno
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskyolo.core.files import write_atomic
from maskyolo.core.images import (
    ImageArray,
    decode_image,
    decode_reduced,
    is_plain_rgb,
    read_image,
    write_image,
)
from maskyolo.errors import ImageError, OutputError


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(colors: ImageArray) -> Image.Image:
    return Image.fromarray(colors[:, :, ::-1])


def test_png_comes_back_as_bgr_to_the_bit(colors: ImageArray) -> None:
    decoded = decode_image(encoded(rgb(colors), "PNG"))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, colors)
    assert decoded.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_obeyed_in_every_format(colors: ImageArray, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(encoded(rgb(colors), kind, exif=exif, **options))
    assert decoded.shape == (40, 30, 3)
    assert np.abs(decoded.astype(int) - np.rot90(colors, -1)).mean() < 6


def test_alpha_is_laid_over_white(colors: ImageArray) -> None:
    rgba = np.dstack([colors[:, :, ::-1], np.zeros(colors.shape[:2], np.uint8)])
    rgba[:, 20:, 3] = 255
    decoded = decode_image(encoded(Image.fromarray(rgba), "PNG"))
    assert (decoded[:, :20] == 255).all()
    assert np.array_equal(decoded[:, 20:], colors[:, 20:])


def test_palette_with_a_transparent_color_is_laid_over_white() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((0, 0), 0)
    decoded = decode_image(encoded(palette, "PNG", transparency=0))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[1, 1].tolist() == [255, 0, 0]


def test_gray_becomes_three_equal_channels() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = decode_image(encoded(Image.fromarray(gray), "PNG"))
    assert all(np.array_equal(decoded[:, :, channel], gray) for channel in range(3))


def test_16_bit_is_scaled_not_clipped() -> None:
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    decoded = decode_image(cv2.imencode(".png", deep)[1].tobytes())
    assert np.array_equal(decoded[:, :, 0], np.arange(256).reshape(16, 16))


def test_cmyk_jpeg_has_its_colors() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 40)).convert("CMYK")
    decoded = decode_image(encoded(red, "JPEG", quality=95))
    assert np.abs(decoded.reshape(-1, 3).mean(0) - [40, 30, 200]).max() < 12


def test_the_first_frame_of_an_animation() -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    decoded = decode_image(encoded(first, "GIF", save_all=True, append_images=[second]))
    assert decoded[0, 0].tolist() == [0, 0, 255]


def test_one_pixel() -> None:
    assert decode_image(encoded(Image.new("RGB", (1, 1), "white"), "PNG")).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty"),
        (b"not a image at all", "not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "x.png"),
    ],
)
def test_what_is_no_image_is_one_line(data: bytes, found: str) -> None:
    with pytest.raises(ImageError, match=found) as caught:
        decode_image(data, "x.png")
    assert "x.png" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_an_error_not_half_a_image(kind: str) -> None:
    noise = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    )
    data = encoded(noise, kind)
    with pytest.raises(ImageError, match=r"cannot decode cut\.jpg"):
        decode_image(data[: len(data) // 2], "cut.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="megapixels"):
        decode_image(bomb)


def test_a_hundred_megapixels_are_read() -> None:
    assert decode_image(encoded(Image.new("L", (10_000, 10_000)), "PNG")).shape == (
        10_000,
        10_000,
        3,
    )


def test_names_of_every_kind_are_read_and_written(tmp_path: Path, colors: ImageArray) -> None:
    for name in ("a b [1].png", "маска-面具.png", "x.jpg_1088Wx1632H"):
        (tmp_path / name).write_bytes(encoded(rgb(colors), "PNG"))
        assert np.array_equal(read_image(tmp_path / name), colors)
    write_image(tmp_path / "é [2].png", colors)
    assert np.array_equal(read_image(tmp_path / "é [2].png"), colors)


def test_a_missing_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_image(tmp_path / "gone.jpg")


def test_plain_files_are_reported_from_those_that_decoders_read_differently(
    colors: ImageArray,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    assert is_plain_rgb(encoded(rgb(colors), "JPEG"))
    assert is_plain_rgb(encoded(rgb(colors), "PNG"))
    assert not is_plain_rgb(encoded(rgb(colors), "JPEG", exif=exif))
    assert not is_plain_rgb(encoded(rgb(colors).convert("RGBA"), "PNG"))
    assert not is_plain_rgb(encoded(rgb(colors).convert("CMYK"), "JPEG"))
    assert not is_plain_rgb(encoded(rgb(colors), "WEBP"))


def test_a_full_disk_leaves_the_old_file_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="no space left"):
        write_atomic(target, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    ("size", "side", "factor", "shape"),
    [
        ((1600, 1201), 640, 2, (601, 800)),
        ((1280, 720), 640, 2, (360, 640)),
        ((1279, 720), 640, 1, (720, 1279)),
        ((1280, 720), 100, 8, (90, 160)),
        ((1280, 3), 100, 2, (2, 640)),
    ],
)
def test_a_large_jpeg_is_read_at_reduced_size(
    size: tuple[int, int], side: int, factor: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", size, (10, 120, 230)).save(path)
    image, found, full = decode_reduced(path.read_bytes(), side)
    assert (found, full, image.shape) == (factor, size, (*shape, 3))
    assert np.abs(image.astype(int) - [230, 120, 10]).max() <= 2


def test_a_reduced_jpeg_is_upright(tmp_path: Path) -> None:
    pixels = np.zeros((400, 800, 3), np.uint8)
    pixels[:, :400] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the right
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    image, factor, size = decode_reduced((tmp_path / "a.jpg").read_bytes(), 200)
    assert (factor, size, image.shape) == (4, (400, 800), (200, 100, 3))
    assert image[50, 50].min() > 250
    assert image[150, 50].max() < 5


def test_only_jpeg_is_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (800, 400)).save(tmp_path / "a.png")
    assert decode_reduced((tmp_path / "a.png").read_bytes(), 200)[0].shape == (400, 800, 3)


def test_a_truncated_large_jpeg_is_an_error_at_reduced_size(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.effect_noise((1600, 1200), 90).save(path)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(ImageError, match="truncated"):
        decode_reduced(path.read_bytes(), 200)
