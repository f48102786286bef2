"""Decode any picture people have into BGR uint8 (H, W, 3), and write pictures so that no half file is ever seen."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from maskyolo.core.files import write_atomic
from maskyolo.errors import ImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageArray",
    "check_image",
    "decode_image",
    "is_plain_rgb",
    "open_image",
    "read_image",
    "write_image",
]

ImageArray = npt.NDArray[np.uint8]

#: File name endings that are taken for pictures when a folder is listed; what a file really is, its content decides.
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

#: Pictures of more pixels are refused before they are decoded, as a 10 kB PNG can unpack to gigabytes. It is the size at which
#: Pillow itself raises `DecompressionBombError`: twice its warning level, half a gigabyte as BGR.
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)

#: Pillow's own `Image.open`, bound before Ultralytics puts a function of its own in its place, which may run pip.
open_image = Image.open

warnings.filterwarnings(
    "ignore", category=Image.DecompressionBombWarning
)  # between one and two times that level is fine here


def check_image(image: ImageArray) -> None:
    """Check that an array is a picture as the library takes them.

    Raises:
        ValueError: it is not BGR uint8 (H, W, 3), or it has no pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"a picture is BGR uint8 (H, W, 3), found {image.dtype} {image.shape}")


def read_image(path: Path | str) -> ImageArray:
    """Read a picture file as BGR uint8 (H, W, 3), upright by its EXIF orientation; see `decode_image`.

    Raises:
        ImageError: no such file, not readable, not a picture, truncated, or more than `MAX_PIXELS`.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(
            f"cannot read picture {path}: {(error.strerror or str(error)).lower()}; check the path"
        ) from error
    return decode_image(data, name=str(path))


def decode_image(data: bytes, name: str = "picture") -> ImageArray:
    """Decode the bytes of a picture file to BGR uint8 (H, W, 3), upright by its EXIF orientation.

    Alpha is laid over white, grey and palette become three channels, 16-bit and float samples are scaled to 8 bits,
    CMYK is converted; of an animation the first frame is taken.

    Raises:
        ImageError: not a picture, truncated, damaged, or more than `MAX_PIXELS`; `name` tells the user which.
    """
    if not data:
        raise ImageError(f"cannot decode {name}: the file is empty; remove it or copy it again")
    try:
        with _open(data) as image:
            image.load()
            rgb = _to_rgb8(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ImageError(
            f"cannot decode {name}: not a picture in a known format; remove it or convert it to JPEG or PNG"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"cannot decode {name}: more than {MAX_PIXELS // 10**6} megapixels; scale it down first"
        ) from error
    except MemoryError as error:
        raise ImageError(f"cannot decode {name}: not enough memory; scale it down first") from error
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, EOFError, … on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot decode {name}: {reason}; remove it or copy it again") from error
    return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])


def is_plain_rgb(data: bytes) -> bool:
    """Tell whether any decoder reads these bytes as `decode_image` does: an upright 8-bit RGB or grey JPEG, or an RGB PNG."""
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
    """Write BGR uint8 (H, W, 3) to `path`, whose suffix gives the format, by way of a temporary file beside it.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower() if path.suffix.lower() in (".png", ".webp", ".bmp") else ".jpg"
    done, encoded = cv2.imencode(
        suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    )
    if not done:
        raise ImageError(
            f"cannot encode a picture of shape {image.shape} as {suffix} for {path}; choose another format"
        )
    write_atomic(path, encoded.tobytes())


def _open(data: bytes) -> Image.Image:
    return open_image(io.BytesIO(data))


def _to_rgb8(image: Image.Image) -> Image.Image:
    if image.mode.startswith(
        ("I", "F")
    ):  # 16-bit, 32-bit and float grey: Pillow's own convert() would clip, not scale
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
