"""Patches of photos: cut out, scaled, matched in light, and pasted with soft edges.

They are the parts that scenes (`maskyolo.conversion.scenes`) are composed of.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import box_area
from maskyolo.core.images import ImageArray
from maskyolo.core.labels import Labels

__all__ = [
    "MIN_PART",
    "Portrait",
    "cut_background",
    "cut_face",
    "exchange_face",
    "oval",
    "paste",
    "resized",
    "soft_edges",
]

#: Minimum side in pixels of a part of a photo that is used as background.
MIN_PART = 16

#: Opacity (H, W, 1) of a patch, from 0 to 1.
Alpha = npt.NDArray[np.float32]

#: An xyxy box in pixels of a patch.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Portrait:
    """An image with labeled faces to cut scenes from: BGR uint8 (H, W, 3), and its labels."""

    image: ImageArray
    labels: Labels


def resized(image: ImageArray, width: int, height: int) -> ImageArray:
    """Return the image in another size, with pixels averaged if it becomes smaller."""
    smaller = width < image.shape[1]
    return np.asarray(
        cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        ),
        dtype=np.uint8,
    )


def cut_face(
    portrait: Portrait, box: int, size: float, rng: np.random.Generator
) -> tuple[ImageArray, Box]:
    """Cut out a face with a margin, and vary its shape, light and sharpness a little.

    Args:
        portrait: the image with the face.
        box: index of the face among the image's labels.
        size: size of the face in the patch, the root of its box's area, in pixels.
        rng: decides the margins and the variations.

    Returns:
        The patch, BGR uint8 (h, w, 3), and the face's box in it.
    """
    image = portrait.image
    x1, y1, x2, y2 = (float(value) for value in portrait.labels.boxes[box])
    face = np.sqrt((x2 - x1) * (y2 - y1))
    # left, top, right, bottom, in sides of the face; larger at the bottom, to include shoulders
    maximum = np.array([0.8, 0.7, 0.8, 1.6]) * (3 if rng.random() < 0.5 else 1)
    margins = rng.uniform(0.08, maximum) * face
    left, top = max(0, int(x1 - margins[0])), max(0, int(y1 - margins[1]))
    right, bottom = (
        min(image.shape[1], int(x2 + margins[2]) + 1),
        min(image.shape[0], int(y2 + margins[3]) + 1),
    )
    scale = size / face
    stretched = np.sqrt(rng.uniform(0.8, 1.25))
    patch = image[top:bottom, left:right]
    width, height = (
        max(2, round(patch.shape[1] * scale * stretched)),
        max(2, round(patch.shape[0] * scale / stretched)),
    )
    patch = resized(patch, width, height)
    mirrored = rng.random() < 0.5
    patch = patch[:, ::-1] if mirrored else patch
    scale_x, scale_y = width / (right - left), height / (bottom - top)
    x1, x2 = (x1 - left) * scale_x, (x2 - left) * scale_x
    if mirrored:
        x1, x2 = width - x2, width - x1
    light: npt.NDArray[np.float32] = np.float32(rng.uniform(0.6, 1.25)) * patch + np.float32(
        rng.uniform(-25, 25)
    )
    blur = rng.uniform(0, 0.05) * size if rng.random() < 0.4 else 0.0
    if blur > 0.3:
        light = cv2.GaussianBlur(light, (0, 0), blur).astype(np.float32)
    return light.clip(0, 255).astype(np.uint8), (x1, (y1 - top) * scale_y, x2, (y2 - top) * scale_y)


def exchange_face(
    body: Portrait, place: int, donor: Portrait, box: int, rng: np.random.Generator
) -> Portrait:
    """Return `body` with the face at index `place` covered by the donor's face.

    The donor's face is scaled to the box, matched in light, and pasted as an oval with soft edges.

    Args:
        body: the image that gets another face.
        place: index of the face to cover among the labels of `body`.
        donor: the image with the new face.
        box: index of the new face among the labels of `donor`.
        rng: decides mirroring, light and the shape of the oval.
    """
    x1, y1, x2, y2 = (float(value) for value in body.labels.boxes[place])
    u1, v1, u2, v2 = (float(value) for value in donor.labels.boxes[box])
    mirrored = rng.random() < 0.5
    margin = 0.3
    left, right = (
        max(0, int(u1 - margin * (u2 - u1))),
        min(donor.image.shape[1], int(u2 + margin * (u2 - u1)) + 1),
    )
    top, bottom = (
        max(0, int(v1 - margin * (v2 - v1))),
        min(donor.image.shape[0], int(v2 + margin * (v2 - v1)) + 1),
    )
    scale_x, scale_y = (x2 - x1) / (u2 - u1), (y2 - y1) / (v2 - v1)
    patch = resized(
        donor.image[top:bottom, left:right],
        max(2, round((right - left) * scale_x)),
        max(2, round((bottom - top) * scale_y)),
    )
    face = (
        (u1 - left) * scale_x,
        (v1 - top) * scale_y,
        (u2 - left) * scale_x,
        (v2 - top) * scale_y,
    )
    patch = _match_light(patch, face, body, place, rng)
    if mirrored:
        patch = patch[:, ::-1]
        face = (patch.shape[1] - face[2], face[1], patch.shape[1] - face[0], face[3])
    image = body.image.copy()
    paste(
        image,
        patch,
        oval(patch, face, rng, (0.62, 0.75)),
        round(x1 - face[0]),
        round(y1 - face[1]),
    )
    return Portrait(image, body.labels)


def _match_light(
    patch: ImageArray,
    face: Box,
    body: Portrait,
    place: int,
    rng: np.random.Generator,
) -> ImageArray:
    """Bring the light and tint of a patch closer to those of the face that it will cover.

    Both are measured on the upper part of the faces, which masks do not hide.
    """
    own, other = (
        _forehead(patch, face),
        _forehead(body.image, tuple(body.labels.boxes[place].tolist())),
    )
    if not own.size or not other.size:
        return patch
    gain = ((other.mean((0, 1)) + 8) / (own.mean((0, 1)) + 8)).clip(0.5, 2) ** rng.random()
    return np.asarray((patch * gain.astype(np.float32)).clip(0, 255), dtype=np.uint8)


def _forehead(image: ImageArray, face: tuple[float, ...]) -> ImageArray:
    """Return the part of a face that masks do not hide; it may be empty."""
    x1, y1, x2, y2 = face
    side = 0.2 * (x2 - x1)
    return image[
        max(0, int(y1)) : max(0, int(y1 + 0.45 * (y2 - y1))),
        max(0, int(x1 + side)) : max(0, int(x2 - side)),
    ]


def cut_background(portrait: Portrait, rng: np.random.Generator) -> ImageArray:
    """Return a part of an image without faces: above, below, left or right of all of them.

    It keeps a margin from the faces, and may be empty.
    """
    boxes = portrait.labels.boxes
    if not len(boxes):
        return portrait.image
    margin = 0.15 * float(np.sqrt(box_area(boxes)).max())
    left, top = (int(max(value, 0)) for value in boxes[:, :2].min(0) - margin)
    right, bottom = (int(value) for value in boxes[:, 2:].max(0) + margin)
    parts = [
        portrait.image[:, :left],
        portrait.image[:top],
        portrait.image[:, right:],
        portrait.image[bottom:],
    ]
    parts = [part for part in parts if min(part.shape[:2]) >= MIN_PART]
    return parts[int(rng.integers(len(parts)))] if parts else portrait.image[:0]


def soft_edges(patch: ImageArray, rng: np.random.Generator) -> Alpha:
    """Return the opacity of a patch with edges so soft that they do not reveal it."""
    height, width = patch.shape[:2]
    soft = max(1.0, rng.uniform(0.02, 0.12) * min(height, width))
    edge_x = np.minimum(np.arange(width) + 1, width - np.arange(width)) / soft
    edge_y = np.minimum(np.arange(height) + 1, height - np.arange(height)) / soft
    alpha: Alpha = (edge_y.clip(0, 1)[:, None, None] * edge_x.clip(0, 1)[None, :, None]).astype(
        np.float32
    )
    return alpha


def oval(
    patch: ImageArray,
    face: Box,
    rng: np.random.Generator,
    radius: tuple[float, float],
) -> Alpha:
    """Return the opacity of a patch that shows only an oval around the face, with a soft rim.

    Args:
        patch: BGR uint8 (H, W, 3).
        face: the face's box in the patch.
        rng: decides the radii and the softness.
        radius: minimum and maximum radius, in sides of the box.
    """
    height, width = patch.shape[:2]
    x1, y1, x2, y2 = face
    radius_x, radius_y = rng.uniform(*radius) * (x2 - x1), rng.uniform(*radius) * (y2 - y1)
    away_x = (np.arange(width) + 0.5 - (x1 + x2) / 2) / radius_x
    away_y = (np.arange(height) + 0.5 - (y1 + y2) / 2) / radius_y
    rim = rng.uniform(0.05, 0.25)
    alpha: Alpha = (
        ((1 - np.hypot(away_y[:, None, None], away_x[None, :, None])) / rim)
        .clip(0, 1)
        .astype(np.float32)
    )
    return alpha


def paste(scene: ImageArray, patch: ImageArray, alpha: Alpha, x: int, y: int) -> None:
    """Blend a patch into the scene, in place, at (x, y); it may extend beyond the scene."""
    height, width = patch.shape[:2]
    left, top = max(0, -x), max(0, -y)
    right, bottom = min(width, scene.shape[1] - x), min(height, scene.shape[0] - y)
    if left >= right or top >= bottom:
        return
    under = scene[y + top : y + bottom, x + left : x + right]
    part = alpha[top:bottom, left:right]
    under[:] = (part * patch[top:bottom, left:right] + (1 - part) * under + 0.5).astype(np.uint8)
