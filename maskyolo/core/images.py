"""Decode images of any common format to BGR uint8 (H, W, 3), and write them atomically."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from maskyolo.core.decoding import (
    TooLargeError,
    check_memory,
    large_turn,
    open_image,
    other_pages,
    reduce,
    to_bgr,
    upright_size,
)
from maskyolo.core.files import walk_files, write_atomic
from maskyolo.core.parsing import ParseError, read_limited
from maskyolo.errors import ImageError, ImageWarning

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_FILE",
    "ImageArray",
    "check_image",
    "decode_image",
    "decode_reduced",
    "encode_jpeg",
    "is_plain_rgb",
    "list_images",
    "read_image",
    "read_image_file",
    "write_image",
]

ImageArray = npt.NDArray[np.uint8]
#: File suffixes that count as images when listing a folder. Decoding goes by the content instead.
IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".ppm",
        ".pgm",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
        ".mpo",
        ".jp2",
    }
)
#: Largest image file that is read, in bytes.
MAX_FILE = 600 << 20


def check_image(image: ImageArray) -> None:
    """Check that an object is an image as this library expects it.

    Raises:
        ValueError: it is no array, not BGR uint8 (H, W, 3), or it has no pixels.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(  # noqa: TRY004  one kind of error for any wrong image
            f"an image must be an array, BGR uint8 (H, W, 3), got {type(image).__name__}; read a "
            "file with cv2.imread(path), and convert a Pillow image with "
            "numpy.asarray(image.convert('RGB'))[:, :, ::-1]"
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"an image must be BGR uint8 (H, W, 3), got {image.dtype} {image.shape}")


def read_image(path: Path | str) -> ImageArray:
    """Read an image file as BGR uint8 (H, W, 3), upright by its EXIF data; see `decode_image`.

    Raises:
        ImageError: no such file, not readable, not an image, truncated, or too large.
    """
    return decode_image(read_image_file(path), name=str(path))


def decode_reduced(
    data: bytes, side: int | None, name: str = "image"
) -> tuple[ImageArray, int, tuple[int, int]]:
    """Decode an image like `decode_image`, but a large JPEG at a half, a quarter or an eighth.

    That takes a fraction of the time and memory, because most of the work is left out.

    Args:
        data: the content of the file.
        side: number of pixels that the longer side of the result has at least, if it has as many in
            the file. None: all of them.
        name: the file, for error messages.

    Returns:
        The image, BGR uint8 (H, W, 3), upright; the factor of the reduction, 1 if it is not
        reduced; and the width and height in the file, upright.

    Raises:
        ImageError: as `decode_image`.
    """
    return _decode(data, name, side)


def read_image_file(path: Path | str) -> bytes:
    """Return the content of an image file.

    Raises:
        ImageError: no such file, not readable, or too large.
    """
    try:
        return read_limited(path, MAX_FILE)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"cannot read image {path}: {reason}", "check the path") from error
    except ParseError as error:
        raise ImageError(f"cannot read image {path}: {error}", "check the file") from error


def decode_image(data: bytes, name: str = "image") -> ImageArray:
    """Decode the bytes of an image file to BGR uint8 (H, W, 3), upright by its EXIF orientation.

    Alpha is composited over white, gray and palette images get three channels, CMYK is converted,
    and samples of more than 8 bits are scaled as in `core.decoding.to_bgr`. Of several pages or
    frames, the first one is used, with an `ImageWarning`.

    Args:
        data: the content of the file.
        name: the file, for error messages.

    Raises:
        ImageError: not an image, truncated, damaged, or too large (see `core.decoding`).
    """
    return _decode(data, name, None)[0]


def _decode(data: bytes, name: str, side: int | None) -> tuple[ImageArray, int, tuple[int, int]]:
    """Decode an image as `decode_reduced`, or at its size if `side` is None."""
    if not data:
        raise ImageError(f"cannot decode {name}: the file is empty", "remove it or copy it again")
    try:
        with open_image(io.BytesIO(data)) as image, large_turn(image.size):
            check_memory(image, data)
            pages = other_pages(image)
            size = upright_size(image)
            factor = 1 if side is None else reduce(image, side)
            pixels = to_bgr(image)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"cannot decode {name}: not an image in a known format",
            "remove it or convert it to JPEG or PNG",
        ) from error
    except TooLargeError as error:
        raise ImageError(f"cannot decode {name}: {error}", "scale it down first") from error
    except MemoryError as error:
        raise ImageError(
            f"cannot decode {name}: not enough memory", "scale it down first"
        ) from error
    except Exception as error:
        # Pillow's plugins raise OSError, SyntaxError, struct.error and others on damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot decode {name}: {reason}", "remove it or copy it again") from error
    if pages:
        warnings.warn(
            f"{name}: only the first of its {pages + 1} pages or frames is used",
            ImageWarning,
            stacklevel=3,
        )
    return pixels, factor, size


def is_plain_rgb(data: bytes) -> bool:
    """Return whether every decoder reads these bytes as `decode_image` does.

    That is an upright 8-bit RGB or gray JPEG, or an RGB PNG.
    """
    with open_image(io.BytesIO(data)) as image:
        upright = image.getexif().get(0x0112, 1) in (0, 1)
        plain = (image.format == "JPEG" and image.mode in ("RGB", "L")) or (
            image.format == "PNG" and image.mode == "RGB"
        )
        return (
            upright
            and plain
            and "transparency" not in image.info
            and getattr(image, "n_frames", 1) == 1
        )


def write_image(path: Path | str, image: ImageArray, quality: int = 95) -> None:
    """Write BGR uint8 (H, W, 3) atomically to `path`, whose suffix determines the format.

    Args:
        path: .png, .webp or .bmp; any other suffix gives a JPEG.
        image: the image.
        quality: JPEG quality, from 0 to 100.

    Raises:
        ImageError: the image cannot be encoded in that format.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower() if path.suffix.lower() in (".png", ".webp", ".bmp") else ".jpg"
    done, encoded = cv2.imencode(
        suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    )
    if not done:
        raise ImageError(
            f"cannot encode an image of shape {image.shape} as {suffix} for {path}",
            "choose another format",
        )
    write_atomic(path, encoded.tobytes())


def encode_jpeg(image: ImageArray, longest: int, quality: int = 80) -> bytes:
    """Return an image as JPEG, scaled down if its longer side exceeds `longest` pixels.

    Args:
        image: BGR uint8 (H, W, 3).
        longest: maximum length of the longer side in pixels.
        quality: JPEG quality, from 0 to 100.
    """
    scale = longest / max(image.shape[:2])
    if scale < 1:
        # areas take five times as long, and only look better at less than half the size
        method = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        image = np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=method), np.uint8
        )
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def list_images(folder: Path | str) -> list[Path]:
    """Return the files below `folder` with an image suffix, sorted by path; links are followed.

    Raises:
        DatasetError: a folder that cannot be read.
    """
    return sorted(
        path
        for path in walk_files(Path(folder))
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
