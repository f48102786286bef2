"""Decode images of any common format to BGR uint8 (H, W, 3), and write them atomically."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from maskyolo.core.files import walk_files, write_atomic
from maskyolo.errors import ImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageArray",
    "check_image",
    "decode_image",
    "is_plain_rgb",
    "list_images",
    "open_image",
    "read_image",
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
    }
)
#: Images with more pixels are refused before they are decoded, because a 10 kB PNG can unpack to
#: gigabytes. This is where Pillow itself raises `DecompressionBombError`, at twice its warning
#: threshold: half a gigabyte as BGR.
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
#: Pillow's own `Image.open`, bound before Ultralytics replaces it with a function that may run pip.
open_image = Image.open
# Pillow warns from half of MAX_PIXELS on; we accept such images without a warning.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def check_image(image: ImageArray) -> None:
    """Check that an array is an image as this library expects it.

    Raises:
        ValueError: it is not BGR uint8 (H, W, 3), or it has no pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"an image must be BGR uint8 (H, W, 3), got {image.dtype} {image.shape}")


def read_image(path: Path | str) -> ImageArray:
    """Read an image file as BGR uint8 (H, W, 3), upright by its EXIF data; see `decode_image`.

    Raises:
        ImageError: no such file, not readable, not an image, truncated, or over `MAX_PIXELS`.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ImageError(f"cannot read image {path}: {reason}", "check the path") from error
    return decode_image(data, name=str(path))


def decode_image(data: bytes, name: str = "image") -> ImageArray:
    """Decode the bytes of an image file to BGR uint8 (H, W, 3), upright by its EXIF orientation.

    Alpha is composited over white, gray and palette images get three channels, 16-bit and float
    samples are scaled to 8 bits, CMYK is converted, and only the first frame of an animation is
    used.

    Args:
        data: the content of the file.
        name: the file, for error messages.

    Raises:
        ImageError: not an image, truncated, damaged, or over `MAX_PIXELS`.
    """
    if not data:
        raise ImageError(f"cannot decode {name}: the file is empty", "remove it or copy it again")
    try:
        with _open(data) as image:
            image.load()
            rgb = _to_rgb8(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ImageError(
            f"cannot decode {name}: not an image in a known format",
            "remove it or convert it to JPEG or PNG",
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"cannot decode {name}: more than {MAX_PIXELS // 10**6} megapixels",
            "scale it down first",
        ) from error
    except MemoryError as error:
        raise ImageError(
            f"cannot decode {name}: not enough memory", "scale it down first"
        ) from error
    except Exception as error:
        # Pillow's plugins raise OSError, SyntaxError, struct.error and others on damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot decode {name}: {reason}", "remove it or copy it again") from error
    return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])


def is_plain_rgb(data: bytes) -> bool:
    """Return whether every decoder reads these bytes as `decode_image` does.

    That is an upright 8-bit RGB or gray JPEG, or an RGB PNG.
    """
    with _open(data) as image:
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


def _open(data: bytes) -> Image.Image:
    return open_image(io.BytesIO(data))


def _to_rgb8(image: Image.Image) -> Image.Image:
    # 16-bit, 32-bit and float gray: Pillow's own convert() would clip instead of scale.
    if image.mode.startswith(("I", "F")):
        samples = np.asarray(image, dtype=np.float64)
        top = (
            65535.0
            if image.mode.startswith("I")
            else (1.0 if samples.max(initial=0) <= 1 else 255.0)
        )
        return Image.fromarray((samples.clip(0, top) * (255 / top) + 0.5).astype(np.uint8)).convert(
            "RGB"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


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
