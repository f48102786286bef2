"""Draw coverings over the lower half of a face: masks of several kinds, and occluders (no masks).

A face is given by five landmarks. Fitting them to a three-dimensional mean face yields an affine
camera, which maps each pixel to a point on a curved surface. Shape, pattern, folds and shading are
functions on that surface, so they turn with the head, foreshorten, and end at its outline. Light,
tint, sharpness and noise are matched to the photo.
"""

from __future__ import annotations

import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError
from maskyolo.synthesis.coverings.camera import Landmarks, Obstacle, find_obstacle
from maskyolo.synthesis.coverings.canvas import draw_on_face
from maskyolo.synthesis.coverings.masks import paint_mask
from maskyolo.synthesis.coverings.occluders import OCCLUDERS, paint_occluder
from maskyolo.synthesis.coverings.styles import (
    COLORS,
    MASKS,
    PATTERNS,
    WORN,
    MaskStyle,
    choose_style,
    choose_worn,
)

__all__ = [
    "COLORS",
    "MASKS",
    "OCCLUDERS",
    "PATTERNS",
    "WORN",
    "MaskStyle",
    "Obstacle",
    "choose_style",
    "choose_worn",
    "draw_mask",
    "draw_occluder",
    "find_obstacle",
]


def draw_mask(
    image: ImageArray,
    landmarks: Landmarks,
    rng: np.random.Generator,
    style: MaskStyle | None = None,
) -> ImageArray:
    """Draw a mask on a face: over nose and mouth but not over the eyes, or worn incorrectly.

    Args:
        image: BGR uint8 (H, W, 3); not modified.
        landmarks: right eye, left eye, nose tip, right and left corner of the mouth, in xy
            pixels, float32 (5, 2), as YuNet returns them; "right" is the person's right.
        rng: decides everything that the style leaves open: cut, fit, folds, tint, light.
        style: the style of the mask. Default: chosen by `choose_style`.

    Returns:
        A copy of the image with the mask, BGR uint8 (H, W, 3).

    Raises:
        MaskyoloError: nothing can be drawn on this face (see `find_obstacle`), or the style is
            unknown.
    """
    style = style or choose_style(rng)
    known = {"kind": MASKS, "color": COLORS, "pattern": PATTERNS, "worn": WORN}
    if any(getattr(style, name) not in values for name, values in known.items()):
        listed = "; ".join(f"{name}: {', '.join(values)}" for name, values in known.items())
        raise MaskyoloError(f"unknown mask style {style}", f"choose from {listed}")
    extent = (-1.3, 1.3, -0.1, 2.3) if style.worn == "well" else (-1.9, 1.9, -0.1, 3.7)
    return draw_on_face(
        image, landmarks, rng, extent, lambda canvas: paint_mask(canvas, style, rng)
    )


def draw_occluder(
    image: ImageArray, landmarks: Landmarks, rng: np.random.Generator, kind: str | None = None
) -> ImageArray:
    """Draw something other than a mask over the lower half of a face.

    For example a hand, a cup, a phone, a scarf, a beard, or a plain patch.

    Args:
        image: BGR uint8 (H, W, 3); not modified.
        landmarks: as for `draw_mask`.
        rng: decides everything else: place, size, color, light.
        kind: one of `OCCLUDERS`. Default: chosen at random.

    Returns:
        A copy of the image with the occluder, BGR uint8 (H, W, 3).

    Raises:
        MaskyoloError: nothing can be drawn on this face (see `find_obstacle`), or the kind is
            unknown.
    """
    kind = kind or str(rng.choice(OCCLUDERS))
    if kind not in OCCLUDERS:
        raise MaskyoloError(
            f"unknown kind of occluder '{kind}'", f"choose one of {', '.join(OCCLUDERS)}"
        )
    return draw_on_face(
        image,
        landmarks,
        rng,
        (-1.9, 1.9, -0.3, 2.9),
        lambda canvas: paint_occluder(canvas, kind, rng),
    )
