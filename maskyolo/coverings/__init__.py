"""Draw coverings over the lower half of a face: masks of several kinds, and things in front of it that are none.

A face is given by five landmarks. Fitted to a mean face in three dimensions they give an affine camera, and with it the place on a
curved surface that each pixel shows; shape, pattern, folds and shading are functions on that surface, so they turn with the head,
foreshorten and end at its outline. Light, tint, sharpness and noise are those of the photo.
"""

from __future__ import annotations

import numpy as np

from maskyolo.coverings.camera import Landmarks, obstacle
from maskyolo.coverings.canvas import draw
from maskyolo.coverings.confusers import CONFUSERS, paint_confuser
from maskyolo.coverings.masks import COLOURS, MASKS, PATTERNS, MaskStyle, choose_style, paint_mask
from maskyolo.errors import MaskyoloError
from maskyolo.images import ImageArray

__all__ = [
    "COLOURS",
    "CONFUSERS",
    "MASKS",
    "PATTERNS",
    "MaskStyle",
    "choose_style",
    "draw_confuser",
    "draw_mask",
    "obstacle",
]


def draw_mask(
    image: ImageArray,
    landmarks: Landmarks,
    rng: np.random.Generator,
    style: MaskStyle | None = None,
) -> ImageArray:
    """Draw a mask on a face; nose and mouth are covered, the eyes are not.

    Args:
        image: BGR uint8 (H, W, 3); it is not changed.
        landmarks: right eye, left eye, nose tip, right and left corner of the mouth, xy pixels, float32 (5, 2), as YuNet gives
            them; right is the person's right.
        rng: of everything that the style leaves open: cut, fit, folds, tint, light.
        style: which mask; by default `choose_style` chooses.

    Returns:
        The picture with the mask, BGR uint8 (H, W, 3).

    Raises:
        MaskyoloError: nothing can be drawn on this face, see `obstacle`; or there is no such style.
    """
    style = style or choose_style(rng)
    if style.kind not in MASKS or style.colour not in COLOURS or style.pattern not in PATTERNS:
        raise MaskyoloError(
            f"cannot draw {style}; choose from {', '.join(MASKS)}; {', '.join(COLOURS)}; {', '.join(PATTERNS)}"
        )
    return draw(
        image, landmarks, rng, (-1.3, 1.3, -0.1, 2.3), lambda canvas: paint_mask(canvas, style, rng)
    )


def draw_confuser(
    image: ImageArray, landmarks: Landmarks, rng: np.random.Generator, kind: str | None = None
) -> ImageArray:
    """Draw something that is no mask over the lower half of a face: a hand, a cup, a phone, a scarf, a beard, a plain patch.

    Args:
        image: BGR uint8 (H, W, 3); it is not changed.
        landmarks: as for `draw_mask`.
        rng: of everything that is left open.
        kind: one of `CONFUSERS`; by default any.

    Returns:
        The picture with it, BGR uint8 (H, W, 3).

    Raises:
        MaskyoloError: nothing can be drawn on this face, see `obstacle`; or there is no such kind.
    """
    kind = kind or str(rng.choice(CONFUSERS))
    if kind not in CONFUSERS:
        raise MaskyoloError(f"cannot draw '{kind}'; choose from {', '.join(CONFUSERS)}")
    return draw(
        image,
        landmarks,
        rng,
        (-1.9, 1.9, -0.3, 2.9),
        lambda canvas: paint_confuser(canvas, kind, rng),
    )
