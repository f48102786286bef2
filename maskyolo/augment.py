"""Vary a labelled face as heads, photographers and cameras do: another picture and another box, for the same crop functions as ever."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes
from maskyolo.images import ImageArray

__all__ = ["Augmentation", "recompress", "vary_face"]


@dataclass(frozen=True)
class Augmentation:
    """How much faces are varied; the first five are those of the projects of 2020 (Keras' `ImageDataGenerator`).

    Attributes:
        rotation: degrees either way.
        zoom: of the box's width and height, apart, as a share either way.
        shift: of the box, as a share of its sides, either way.
        shear: of the vertical against the horizontal, as a share, either way.
        flip: share of faces that are mirrored.
        small: share of faces that are scaled down.
        face_size: smallest and largest of these in pixels of the longer side, drawn evenly on a logarithmic scale.
        blur: share of faces that are blurred afterwards.
        jpeg: share of faces that are compressed as JPEG in the end.
        quality: least and most quality of these.
    """

    rotation: float = 20
    zoom: float = 0.15
    shift: float = 0.2
    shear: float = 0.15
    flip: float = 0.5
    small: float = 0.5
    face_size: tuple[float, float] = (16, 100)
    blur: float = 0.25
    jpeg: float = 0.5
    quality: tuple[int, int] = (40, 95)


def vary_face(
    image: ImageArray,
    box: npt.ArrayLike,
    rng: np.random.Generator,
    how: Augmentation,
    margin: float = 0.0,
) -> tuple[ImageArray, Boxes]:
    """Return a varied cut-out of a picture around one face, and the face's box in it.

    Rotation, shear and mirroring turn the picture about the box's middle; zoom and shift change the box. What lies outside the
    picture is filled with its border's pixels, as Keras does.

    Args:
        image: BGR uint8 (H, W, 3).
        box: xyxy pixels (4,).
        rng: of everything random.
        how: how much.
        margin: that a crop of the result will have on each side of the box, as a share of its sides; the cut-out has room for it.

    Returns:
        BGR uint8, and the box as float32 (1, 4) xyxy pixels, which lies inside.
    """
    x1, y1, x2, y2 = as_boxes(box)[0].astype(float)
    sides = np.maximum([x2 - x1, y2 - y1], 1.0)
    drawn = sides * (1 + rng.uniform(-how.zoom, how.zoom, 2))
    offset = sides * rng.uniform(-how.shift, how.shift, 2)
    half = float(np.max(np.abs(offset) + drawn * (0.5 + margin))) + 1
    turn = np.deg2rad(rng.uniform(-how.rotation, how.rotation))
    mirror = -1.0 if rng.random() < how.flip else 1.0
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
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
    there = np.concatenate([half + offset - drawn / 2, half + offset + drawn / 2])
    varied, scale = _as_a_camera(varied, float(drawn.max()), rng, how)
    return varied, as_boxes(there * scale)


def recompress(image: ImageArray, quality: int, scale: float = 1.0) -> ImageArray:
    """Save a picture as JPEG (4:2:0) and read it again, at its own size or, with a scale below 1, smaller and then enlarged.

    Args:
        image: BGR uint8 (H, W, 3).
        quality: of JPEG, 0 to 100.
        scale: of the sides while it is compressed, in (0, 1].

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
    read = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if read is None:
        raise AssertionError("what OpenCV has just encoded, it can read")
    return _uint8(
        read
        if stored == (width, height)
        else cv2.resize(read, (width, height), interpolation=cv2.INTER_LINEAR)
    )


def _as_a_camera(
    image: ImageArray, face: float, rng: np.random.Generator, how: Augmentation
) -> tuple[ImageArray, float]:
    """Scale down, blur and compress a picture with a face of that size, each now and then; return it with the scale."""
    scale = 1.0
    if rng.random() < how.small:
        least, most = how.face_size
        scale = min(1.0, least * (most / least) ** rng.random() / face)
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
    """Tell the type checker what OpenCV's stubs leave open."""
    return np.asarray(image, dtype=np.uint8)
