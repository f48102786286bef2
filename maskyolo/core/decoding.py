"""Decode image files to BGR uint8 in bounded memory.

Pillow decodes every format. Which formats it may open, how much memory that may take, and how
samples of more than 8 bits become 8 bits is decided here.
"""

from __future__ import annotations

import ctypes
import functools
import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, _imaging

__all__ = [
    "LARGE_PIXELS",
    "MAX_MEMORY",
    "MAX_PIXELS",
    "TooLargeError",
    "check_memory",
    "large_turn",
    "open_image",
    "other_pages",
    "reduce",
    "to_bgr",
    "upright_size",
]

#: Images with more pixels are refused before they are decoded, because a 10 kB PNG can unpack to
#: gigabytes. This is where Pillow itself raises `DecompressionBombError`, at twice its warning
#: threshold: half a gigabyte as BGR.
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
#: Maximum memory for decoding one image, with its file and the result, in bytes. It is known before
#: decoding. An RGB JPEG or PNG may have about 150 megapixels.
MAX_MEMORY = 1 << 30
#: Images with more pixels than this are decoded and processed one at a time; see `large_turn`.
LARGE_PIXELS = 32_000_000
#: Images with more pixels than this are converted in strips of this size, which is also faster.
_WHOLE, _STRIP = 1 << 20, 1 << 18

#: The formats that are opened. Pillow has others, which photos do not use, and some of which start
#: other programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000")
_HEIF = "HEIF"
#: Brands of a HEIF file in its first box. Some also begin AVIF files, which Pillow reads itself.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
#: Bytes per pixel that decoding takes in addition to Pillow's image, as measured: copies in the
#: decoders of WebP, AVIF, HEIF (both for up to 12 bits) and JPEG 2000 (for four components).
_DECODER_BYTES = {"WEBP": 10, "AVIF": 10, "HEIF": 8, "JPEG2000": 18}
#: The same for the frames of an animation, which are composed from those before.
_ANIMATION_BYTES = {"PNG": 8, "GIF": 17}
#: Bytes per pixel of Pillow's image, where it is not 4.
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_TIFF_SUBFILE, _TIFF_BITS, _TIFF_ROWS, _TIFF_SAMPLES, _TIFF_FORMAT = 254, 258, 278, 277, 339
_TIFF_TILE = (322, 323)
#: Largest values of the ranges that samples are scaled from, by the largest sample: 8, 10, 12, 14
#: and 16 bits.
_RANGES = (255, 1023, 4095, 16383, 65535)
#: One in this many samples at each end, such as dead pixels, is ignored to determine the range.
_OUTLIERS = 1000
#: Samples that are not larger than this, as in masks of 0 and 1, are not a photo of 8 bits.
_DARK = 8

_Samples = npt.NDArray[np.float64]
# Bound before Ultralytics replaces it with a function that may run pip.
_open = Image.open
_large = threading.RLock()
_heif_ready = threading.Lock()

# Pillow warns from half of MAX_PIXELS on, and about unusual metadata. Unusable images are errors.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class TooLargeError(ValueError):
    """Decoding an image would take more memory than `MAX_MEMORY`; the message says how much."""


def open_image(source: Path | str | io.BytesIO) -> Image.Image:
    """Open an image without decoding it, as Pillow's `Image.open`, in the formats of photos only.

    HEIF, which includes iPhones' HEIC, is read by the package pi_heif.

    Raises:
        TooLargeError: more than `MAX_PIXELS` pixels.
        UnidentifiedImageError: none of these formats.
        OSError: the file cannot be read, or whatever else Pillow's plugins raise.
    """
    if isinstance(source, io.BytesIO):
        head = source.getbuffer()[:12].tobytes()
    else:
        with Path(source).open("rb") as file:
            head = file.read(12)
    if head[:2] in (b"II", b"MM"):
        _silence_libtiff()
    formats: tuple[str, ...] = _FORMATS
    if head[4:8] == b"ftyp" and head[8:] in _HEIF_BRANDS:
        _register_heif()
        formats = (*formats, _HEIF)
    try:
        return _open(source, formats=formats)
    except Image.DecompressionBombError as error:
        raise TooLargeError(f"more than {MAX_PIXELS // 10**6} megapixels") from error


@functools.cache
def _silence_libtiff() -> None:
    """Stop Pillow's libtiff from printing its errors, which Pillow raises, too."""
    with suppress(OSError, AttributeError):  # where libtiff is a part of Pillow's own library
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
        ctypes.CDLL(_imaging.__file__).TIFFSetWarningHandler(None)


def _register_heif() -> None:
    with _heif_ready:
        if _HEIF not in Image.OPEN:
            import pi_heif

            pi_heif.register_heif_opener(thumbnails=False)


@contextmanager
def large_turn(image: bytes | tuple[int, int]) -> Iterator[None]:
    """Hold the process's only turn for large images while one is decoded or processed.

    Several threads that each process a large image would together take gigabytes.

    Args:
        image: width and height, or the image's file; if it is not large, nothing is held.
    """
    width, height = _size_of(image) if isinstance(image, bytes) else image
    with _large if width * height > LARGE_PIXELS else nullcontext():
        yield


def _size_of(data: bytes) -> tuple[int, int]:
    try:
        with open_image(io.BytesIO(data)) as image:
            return image.width, image.height
    except Exception:  # noqa: BLE001  # Pillow's plugins raise anything; decoding will report it
        return 0, 0


def check_memory(image: Image.Image, data: bytes) -> None:
    """Check how much memory decoding an opened image will take.

    A later frame of a GIF may be larger than the first one: check after each `seek`.

    Args:
        image: the image, or a frame of it, not decoded yet.
        data: its file.

    Raises:
        TooLargeError: more than `MAX_MEMORY`.
    """
    pixels = image.width * image.height
    if pixels * 32 + len(data) <= MAX_MEMORY and image.format != "TIFF":
        return  # in any case
    per_pixel: float = 3 + _MODE_BYTES.get(image.mode, 4)
    per_pixel += _DECODER_BYTES.get(image.format or "", 0)
    if image.format in ("JPEG", "MPO") and not _is_one_scan(data):
        per_pixel += _coefficient_bytes(image)
    if getattr(image, "is_animated", False):
        per_pixel += _ANIMATION_BYTES.get(image.format or "", 0)
    needed = int(pixels * per_pixel) + len(data)
    if image.format == "TIFF":
        needed += len(data) + _strip_bytes(image)  # libtiff gets a copy of the file
    if needed > MAX_MEMORY:
        kind = "progressive JPEG" if _is_progressive(image) else image.format
        raise TooLargeError(
            f"{pixels / 1e6:.0f} megapixels as {kind} take {needed / 2**30:.1f} GB of memory, more "
            f"than {MAX_MEMORY / 2**30:.1f} GB"
        )


def _is_progressive(image: Image.Image) -> bool:
    return bool(image.info.get("progressive"))


def _is_one_scan(data: bytes) -> bool:
    """Return whether a JPEG has all components in its first scan, and can be decoded line by line.

    Otherwise, libjpeg stores the coefficients of the whole image.
    """
    place, components = 2, 0
    while place + 9 < len(data) and data[place] == 0xFF:
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            components = data[place + 9]
            if marker not in (0xC0, 0xC1):  # progressive, or arithmetic coding
                return False
        if marker == 0xDA:
            return data[place + 4] == components
        place += 1 if marker == 0xFF else 2 + size
    return False


def _coefficient_bytes(image: Image.Image) -> float:
    """Return the bytes per pixel of a JPEG's coefficients, 16 bits each."""
    layers = getattr(image, "layer", [])
    across, down = (max((layer[axis] for layer in layers), default=1) for axis in (1, 2))
    samples: float = sum(layer[1] * layer[2] / (across * down) for layer in layers)
    return 2 * samples


def _strip_bytes(image: Image.Image) -> int:
    """Return the size of a TIFF's strips or tiles, which libtiff decodes as a whole."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return 0
    bits = tags.get(_TIFF_BITS, (8,))
    bits = max(bits) if isinstance(bits, tuple) else bits
    pixel = max(int(tags.get(_TIFF_SAMPLES, 1)) * (int(bits) // 8), 4)
    if _TIFF_TILE[0] in tags:
        across, down = (int(tags.get(tag, 0)) for tag in _TIFF_TILE)
        return across * down * pixel
    rows = min(int(tags.get(_TIFF_ROWS, image.height)), image.height)
    return rows * image.width * pixel


def other_pages(image: Image.Image) -> int:
    """Return the number of pages or frames after the first one.

    The smaller versions of a page in a TIFF do not count, nor the further images of a JPEG from a
    phone, such as depth maps.
    """
    if image.format not in ("TIFF", "GIF", "PNG", "WEBP", "AVIF", "HEIF"):
        return 0
    number: int = getattr(image, "n_frames", 1)
    if number > 1 and image.format == "TIFF":
        image.seek(1)
        smaller = image.tag_v2.get(_TIFF_SUBFILE, 0) & 1  # type: ignore[attr-defined]
        image.seek(0)
        return 0 if smaller else number - 1
    return number - 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height of an opened image once it is upright."""
    turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def reduce(image: Image.Image, side: int) -> int:
    """Let an opened JPEG be decoded at a half, a quarter or an eighth of its sides.

    libjpeg then computes fewer pixels of each block of 8 by 8; sides are rounded up.

    Args:
        image: the image, not decoded yet.
        side: number of pixels that the longer side keeps at least.

    Returns:
        The factor by which both sides are smaller: 8, 4, 2, or 1 for all other images.
    """
    longer = max(image.size)
    factor = next((factor for factor in (8, 4, 2) if longer >= factor * side), 1)
    if factor == 1 or image.format not in ("JPEG", "MPO"):
        return 1
    width, height = image.size
    image.draft(None, (max(width // factor, 1), max(height // factor, 1)))
    return round(longer / max(image.size))


def to_bgr(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Decode an opened image to BGR uint8 (H, W, 3), upright by its EXIF orientation.

    Alpha is composited over white. Samples of more than 8 bits are scaled from the smallest range
    of 8, 10, 12, 14 or 16 bits that holds 99.9 % of them, and floats from 0 to 1 if they lie there;
    samples with negative or other values are scaled so that the middle 99.8 % of them use all of
    the range. NaN becomes black.

    Raises:
        ValueError: no sample is a number.
        Exception: whatever Pillow's plugins raise on damaged files.
    """
    image.load()
    deep = image.mode.startswith(("I", "F"))
    if image.width * image.height <= _WHOLE and not deep:
        rgb = _to_rgb(ImageOps.exif_transpose(image))
        return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])
    convert = _scaled(image) if deep else lambda strip: np.asarray(_to_rgb(strip))
    width, height = image.size
    result = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        result[top : top + rows] = convert(strip)[..., ::-1]
    orientation = image.getexif().get(0x0112, 1)
    if not getattr(image, "is_animated", False):
        image.close()  # frees its pixels
    return _upright(result, orientation)


def _upright(image: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":  # Pillow's convert() does not know it
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return converted or image
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _scaled(image: Image.Image) -> Callable[[Image.Image], npt.NDArray[np.uint8]]:
    """Return a function that converts strips of an image of deep samples to gray (H, W, 1)."""
    unsigned = _is_unsigned(image)
    low, high = _range(_samples(_thinned(image), unsigned), image.mode == "F")

    def convert(strip: Image.Image) -> npt.NDArray[np.uint8]:
        samples = np.nan_to_num(_samples(strip, unsigned), nan=low, posinf=high, neginf=low)
        gray = (samples.clip(low, high) - low) * (255 / (high - low)) + 0.5
        return gray.astype(np.uint8)[..., None]

    return convert


def _is_unsigned(image: Image.Image) -> bool:
    """Return whether a TIFF's 32-bit integers are unsigned, which Pillow reads as signed."""
    tags = getattr(image, "tag_v2", {})
    kind = tags.get(_TIFF_FORMAT, 1)
    return image.mode == "I" and (kind[0] if isinstance(kind, tuple) else kind) == 1


def _samples(image: Image.Image, unsigned: bool) -> _Samples:
    samples = np.asarray(image)
    with np.errstate(invalid="ignore"):  # some kinds of NaN warn
        return (samples.view(np.uint32) if unsigned else samples).astype(np.float64)


def _thinned(image: Image.Image) -> Image.Image:
    """Return an image of about a million of an image's pixels, without any computed values."""
    step = max(1, round((image.width * image.height / (1 << 20)) ** 0.5))
    size = (-(-image.width // step), -(-image.height // step))
    return image if step == 1 else image.resize(size, Image.Resampling.NEAREST)


def _range(samples: _Samples, is_float: bool) -> tuple[float, float]:
    """Return the samples that become black and white."""
    finite = np.sort(samples[np.isfinite(samples)], axis=None)
    if not len(finite):
        raise ValueError("all its samples are invalid (NaN)")
    outliers = -(-len(finite) // _OUTLIERS) if len(finite) >= _OUTLIERS // 10 else 0
    low, high = float(finite[outliers]), float(finite[-1 - outliers])
    if low < 0 or high > _RANGES[-1]:
        return low, high if high > low else low + max(abs(low), 1.0)
    if high <= _DARK:
        return 0.0, 1.0 if is_float and high <= 1 else max(high, 1.0)
    return 0.0, float(next(top for top in _RANGES if high <= top))
