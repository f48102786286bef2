"""Augments labeled faces: rotation, zoom, shift, shear, scale, blur, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.images import ImageArray
from maskyolo.core.options import Options, option
from maskyolo.errors import MaskyoloError

__all__ = ["Augmentation", "recompress", "vary_face"]


@dataclass(frozen=True, kw_only=True)
class Augmentation(Options):
    """How strongly faces are augmented.

    The first five fields are those of the projects of 2020 (Keras' `ImageDataGenerator`).

    Raises:
        MaskyoloError: a value is out of its range.
    """

    rotation: float = option(
        20, help="Maximum rotation in degrees, in either direction.", minimum=0, maximum=180
    )
    zoom: float = option(
        0.15,
        help="Maximum change of the box's width and of its height, as a fraction of each.",
        minimum=0,
        maximum=1,
    )
    shift: float = option(
        0.2, help="Maximum shift of the box, as a fraction of its sides.", minimum=0, maximum=1
    )
    shear: float = option(
        0.15,
        help="Maximum shear of the vertical against the horizontal, as a fraction.",
        minimum=0,
        maximum=1,
    )
    flip: float = option(0.5, help="Fraction of faces to mirror.", minimum=0, maximum=1)
    small: float = option(0.5, help="Fraction of faces to scale down.", minimum=0, maximum=1)
    face_size: tuple[float, float] = option(
        (16, 100),
        help="Smallest and largest size of these, in pixels of the longer side, drawn evenly on a "
        "logarithmic scale.",
    )
    blur: float = option(0.25, help="Fraction of faces to blur.", minimum=0, maximum=1)
    jpeg: float = option(
        0.5, help="Fraction of faces to compress as JPEG, as the last step.", minimum=0, maximum=1
    )
    quality: tuple[int, int] = option((40, 95), help="Lowest and highest JPEG quality of these.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_pair("face_size", self.face_size, 1, 10_000)
        _check_pair("quality", self.quality, 1, 100)


def _check_pair(name: str, pair: tuple[float, float], minimum: int, maximum: int) -> None:
    if not minimum <= pair[0] <= pair[1] <= maximum:
        raise MaskyoloError(
            f"{name} must be two ascending numbers from {minimum} to {maximum}, got {list(pair)}",
            "correct the recipe",
        )


def vary_face(
    image: ImageArray,
    box: npt.ArrayLike,
    rng: np.random.Generator,
    how: Augmentation,
    margin: float = 0.0,
) -> tuple[ImageArray, Boxes]:
    """Return an augmented crop of an image around one face, and the face's box in it.

    Rotation, shear and mirroring transform the image about the box's center; zoom and shift change
    the box. Areas outside the image are filled by repeating its border pixels, as Keras does.

    Args:
        image: BGR uint8 (H, W, 3).
        box: xyxy pixels (4,).
        rng: source of all random choices.
        how: how strongly to augment.
        margin: margin on each side of the box, as a fraction of its sides, for which the result
            leaves room.

    Returns:
        The crop as BGR uint8, and the box inside it as float32 (1, 4) xyxy pixels.
    """
    x1, y1, x2, y2 = as_boxes(box)[0].astype(float)
    sides = np.maximum([x2 - x1, y2 - y1], 1.0)
    drawn = sides * (1 + rng.uniform(-how.zoom, how.zoom, 2))
    offset = sides * rng.uniform(-how.shift, how.shift, 2)
    half = float(np.max(np.abs(offset) + drawn * (0.5 + margin))) + 1
    angle = np.deg2rad(rng.uniform(-how.rotation, how.rotation))
    mirror = -1.0 if rng.random() < how.flip else 1.0
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = (
        linear
        @ [[1.0, rng.uniform(-how.shear, how.shear)], [0.0, 1.0]]
        @ [[mirror, 0.0], [0.0, 1.0]]
    )
    matrix = np.column_stack([linear, half - linear @ [(x1 + x2) / 2, (y1 + y2) / 2]])
    side = int(np.ceil(2 * half))
    varied = _uint8(
        cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    )
    moved = np.concatenate([half + offset - drawn / 2, half + offset + drawn / 2])
    varied, scale = _degrade(varied, float(drawn.max()), rng, how)
    return varied, as_boxes(moved * scale)


def recompress(image: ImageArray, quality: int, scale: float = 1.0) -> ImageArray:
    """Encode an image as JPEG (4:2:0) and decode it again.

    Args:
        image: BGR uint8 (H, W, 3).
        quality: JPEG quality, 0 to 100.
        scale: scale of the sides during compression, in (0, 1]; below 1, the image is scaled down
            before and back up afterwards.

    Returns:
        BGR uint8 (H, W, 3).
    """
    height, width = image.shape[:2]
    stored = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = (
        image
        if stored == (width, height)
        else cv2.resize(image, stored, interpolation=cv2.INTER_AREA)
    )
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if decoded is None:
        raise AssertionError("OpenCV cannot decode what it has just encoded")
    return _uint8(
        decoded
        if stored == (width, height)
        else cv2.resize(decoded, (width, height), interpolation=cv2.INTER_LINEAR)
    )


def _degrade(
    image: ImageArray, face: float, rng: np.random.Generator, how: Augmentation
) -> tuple[ImageArray, float]:
    """Scale down, blur and compress an image, each with its probability; return it and its scale.

    Args:
        image: BGR uint8 (H, W, 3), square.
        face: longer side of its face in pixels.
        rng: source of all random choices.
        how: the probabilities and ranges.
    """
    scale = 1.0
    if rng.random() < how.small:
        smallest, largest = how.face_size
        scale = min(1.0, smallest * (largest / smallest) ** rng.random() / face)
    varied = image
    if scale < 1:
        side = max(2, round(len(image) * scale))
        scale = side / len(image)
        varied = _uint8(cv2.resize(varied, (side, side), interpolation=cv2.INTER_AREA))
    if rng.random() < how.blur:
        varied = _uint8(cv2.GaussianBlur(varied, (0, 0), rng.uniform(0.3, 1.2)))
    if rng.random() < how.jpeg:
        varied = recompress(varied, int(rng.integers(*how.quality, endpoint=True)))
    return varied, scale


def _uint8(image: npt.ArrayLike) -> ImageArray:
    """Return the image typed as uint8, which OpenCV's type stubs do not guarantee."""
    return np.asarray(image, dtype=np.uint8)
