"""Images of every depth, of several pages, too large ones, and HEIC."""

from __future__ import annotations

import base64
import io
import tracemalloc
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskyolo.core import decoding
from maskyolo.core.decoding import open_image
from maskyolo.core.images import ImageArray, decode_image, read_image
from maskyolo.errors import ImageError, ImageWarning

#: 64 x 64 pixels: green on the left, else red above blue. Written by pillow-heif.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAAEYAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABo"
    "dmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEA"
    "GEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAA"
    "AwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMI"
    "CAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAE5tZGF0AAAAQigBr1iK1K06rxcdX/9EP/+0W2X/sVfm4Pp/LFPhmWPv"
    "eGLIcJrmqj42oXUACne64AfELnjYIZ+vIL/DTh/huUbwLA=="
)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(samples: npt.NDArray[np.generic]) -> bytes:
    return encoded(Image.fromarray(samples), "TIFF")


def ramp(rows: int = 40, columns: int = 50) -> npt.NDArray[np.float64]:
    return np.linspace(0, 1, rows * columns).reshape(rows, columns)


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(ramp().astype(np.float32), id="float"),
        pytest.param((ramp() * 255).astype(np.float32), id="float to 255"),
        pytest.param((ramp() * 1.8).astype(np.float32), id="float to 1.8"),
        pytest.param((ramp() * 4000 - 1000).astype(np.float32), id="negative float"),
        pytest.param((ramp() * 65535).astype(np.uint16), id="16 bits"),
        pytest.param((ramp() * 4095).astype(np.uint16), id="12 bits"),
        pytest.param((ramp() * 255).astype(np.int32), id="8 bits in 32"),
        pytest.param((ramp() * 65535).astype(np.int32), id="16 bits in 32"),
        pytest.param((ramp() * 2e9).astype(np.int32), id="32 bits"),
        pytest.param((ramp() * 60000 - 30000).astype(np.int32), id="negative"),
    ],
)
def test_a_ramp_of_any_depth_becomes_a_ramp(samples: npt.NDArray[np.generic]) -> None:
    decoded = decode_image(tiff(samples))
    assert decoded.shape == (40, 50, 3)
    assert np.abs(decoded[..., 1] - ramp() * 255).max() < 2.5


@pytest.mark.parametrize("odd", [1e9, -1e9, np.nan, np.inf, -np.inf, 1.0001])
def test_one_odd_sample_does_not_change_the_brightness(odd: float) -> None:
    samples = (0.2 + 0.6 * ramp()).astype(np.float32)
    samples[20, 20] = odd
    decoded = decode_image(tiff(samples))
    assert np.abs(decoded[0, 0] - 51.0).max() <= 1
    assert np.abs(decoded[-1, -1] - 204.0).max() <= 1


def test_samples_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(ImageError, match=r"x\.tif: all its samples are invalid \(NaN\)"):
        decode_image(tiff(np.full((4, 4), np.nan, np.float32)), name="x.tif")


def test_signaling_nan_does_not_warn() -> None:
    samples = ramp().astype(np.float32)
    samples.view(np.uint32)[3, 3] = 0x7FA00000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(tiff(samples))[-1, -1, 0] == 255


def test_a_constant_image_of_any_value_has_a_brightness() -> None:
    for value in (0.0, 0.5, 1e-30, 7.0, 1e38, -1e38):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            decode_image(tiff(np.full((20, 20), value, np.float32)))


def test_libtiff_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    data = bytearray(encoded(Image.fromarray(noise), "TIFF", compression="tiff_lzw"))
    data[300:2000] = bytes(range(250, 200, -1)) * 34
    with pytest.raises(ImageError):
        decode_image(bytes(data))
    assert capfd.readouterr() == ("", "")


def test_unsigned_samples_of_32_bits() -> None:
    image = Image.fromarray((ramp() * 4.29e9).astype(np.uint32).view(np.int32))
    data = bytearray(encoded(image, "TIFF"))
    signed = data.replace(b"\x53\x01\x03\x00\x01\x00\x00\x00\x02", b"")
    assert len(signed) < len(data)  # the tag that says signed is there
    data = data.replace(
        b"\x53\x01\x03\x00\x01\x00\x00\x00\x02", b"\x53\x01\x03\x00\x01\x00\x00\x00\x01"
    )
    assert np.abs(decode_image(bytes(data))[..., 0] - ramp() * 255).max() < 2.5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_of_a_tiff_has_its_colors(mode: str, colors: ImageArray) -> None:
    image = Image.fromarray(colors[:, :, ::-1])
    if mode == "LAB":
        from PIL import ImageCms

        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert stored
    else:
        stored = image.convert(mode)
    expected = image if mode == "LAB" else stored.convert("RGB")
    decoded = decode_image(encoded(stored, "TIFF"))
    assert np.abs(decoded[..., ::-1].astype(int) - np.asarray(expected)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_strips_give_the_same_image_as_the_whole(
    orientation: int, colors: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgba = np.dstack([colors, colors[:, :, :1]])
    data = encoded(Image.fromarray(rgba), "PNG", exif=exif)
    whole = decode_image(data)
    monkeypatch.setattr(decoding, "_WHOLE", 0)
    monkeypatch.setattr(decoding, "_STRIP", 90)
    assert np.array_equal(decode_image(data), whole)


def test_heic_is_read_and_avif() -> None:
    decoded = decode_image(HEIC)
    assert decoded.shape == (64, 64, 3)
    for place, color in (((20, 50), (40, 40, 220)), ((50, 50), (220, 40, 40))):
        assert np.abs(decoded[place].astype(int) - color).max() < 30
    image = Image.new("RGB", (64, 64), (200, 100, 50))
    assert np.abs(decode_image(encoded(image, "AVIF"))[9, 9].astype(int) - [50, 100, 200]).max() < 9


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_further_pages_are_told(kind: str) -> None:
    first, second = (Image.new("RGB", (8, 8), color) for color in ("red", "blue"))
    data = encoded(first, kind, save_all=True, append_images=[second])
    with pytest.warns(ImageWarning, match=r"a\.x: only the first of its 2 pages or frames"):
        decoded = decode_image(data, name="a.x")
    assert decoded[4, 4, 2] > 200
    assert decoded[4, 4, 0] < 60


def test_the_smaller_versions_of_a_page_are_not_pages() -> None:
    small = Image.new("RGB", (4, 4))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    data = encoded(Image.new("RGB", (8, 8)), "TIFF", save_all=True, append_images=[small])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_image(data)


@pytest.mark.parametrize(
    "data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"P7 332\n"]
)
def test_formats_of_no_photo_are_not_opened(data: bytes) -> None:
    with pytest.raises(ImageError, match="not an image in a known format"):
        decode_image(data + bytes(99))


@pytest.mark.parametrize(
    ("kind", "options", "megapixels"),
    [
        ("JPEG", {}, 154),
        ("JPEG", {"progressive": True}, 108),
        ("PNG", {}, 154),
        ("WEBP", {}, 64),
        ("AVIF", {"speed": 10}, 64),
    ],
)
def test_what_would_take_too_much_memory_is_refused_in_a_line(
    kind: str, options: dict[str, object], megapixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new("RGB", (64, 64))
    data = encoded(image, kind, **options)
    monkeypatch.setattr(decoding, "MAX_MEMORY", 4096 * (1 << 30) // (megapixels * 10**6))
    with pytest.raises(ImageError, match=r"megapixels as .* of memory, more than .*; scale it"):
        decode_image(data + bytes(2000))
    monkeypatch.setattr(decoding, "MAX_MEMORY", 64 * 64 * 32 + len(data))
    decode_image(data)


def test_scans_of_a_jpeg_that_need_all_coefficients() -> None:
    image = Image.new("RGB", (64, 64))
    baseline, progressive = (encoded(image, "JPEG", progressive=value) for value in (False, True))
    assert decoding._is_one_scan(baseline)
    assert not decoding._is_one_scan(progressive)
    with open_image(io.BytesIO(progressive)) as opened:
        assert decoding._coefficient_bytes(opened) == 3  # 4:2:0: a luma and half a chroma sample
    assert not decoding._is_one_scan(b"\xff\xd8" + b"\xff" * 50)


def test_an_image_is_decoded_in_the_memory_that_was_estimated() -> None:
    samples = np.zeros((1500, 2000), np.float32)
    samples[:, 1000:] = 0.5
    data = tiff(samples)
    tracemalloc.start()
    try:
        decode_image(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * samples.size + (40 << 20)  # as float64, with copies, it took 200 MB


def test_a_file_that_is_too_large_is_not_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("large") / "a.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="larger than 600 MB"):
        read_image(path)
