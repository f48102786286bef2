"""A photo's light on a face, its sharpness and its noise, so that a drawing can match the photo."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.synthesis.coverings.camera import Camera, FloatArray, Landmarks, Surface

__all__ = ["Light"]

_CELLS = 12  # number of cells of the brightness grid per unit of the face
# The ratio that `_blur_of` computes for images of eyes blurred with these sigmas: medians of 14
# photos with at least 100 pixels between the eyes, first downscaled to half their size.
_SHARPNESS = (0.456, 0.482, 0.508, 0.548, 0.579, 0.666, 0.885, 0.935)
_SIGMAS = (2.5, 1.8, 1.5, 1.2, 1.0, 0.7, 0.4, 0.0)


@dataclass(frozen=True)
class Light:
    """A photo's light on one face, and the photo's sharpness and noise.

    Attributes:
        ratio: brightness relative to the face's average, smoothed, on a coarse grid.
        place: matrix (2, 3) from cells of the grid to pixels of the photo.
        white: BGR from 0 to 1 of a white object in this light.
        gray: 1 for a grayscale photo, 0 for a color photo.
        skin: RGB from 0 to 1 of the cheeks in full light.
        blur: sigma of the photo's blur, in pixels.
        noise: sigma of the photo's noise, in gray levels (0 to 255).
    """

    ratio: FloatArray
    place: FloatArray
    white: FloatArray
    gray: float
    skin: FloatArray
    blur: float
    noise: float

    @classmethod
    def of(
        cls,
        image: ImageArray,
        camera: Camera,
        landmarks: Landmarks,
        region: tuple[int, int, int, int],
    ) -> Light:
        """Measure the light on a face; `region` is left, top, right, bottom around it."""
        left, top, right, bottom = region
        part = image[top:bottom, left:right]
        cell = max(1.0, camera.scale / _CELLS)
        width, height = max(2, round(part.shape[1] / cell)), max(2, round(part.shape[0] / cell))
        cell_x, cell_y = part.shape[1] / width, part.shape[0] / height
        small = (
            np.asarray(
                cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32
            )
            / 255
        )
        luma = small @ np.array([0.114, 0.587, 0.299], dtype=np.float32)
        xs, ys = np.meshgrid(
            np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        )
        x, y = camera.on_surface(
            (xs + 0.5) * cell_x + left - 0.5, (ys + 0.5) * cell_y + top - 0.5, Surface()
        )
        face = (np.abs(x) < 0.85) & (y > -0.45) & (y < 1.75)
        cheeks = (np.abs(x) > 0.3) & (np.abs(x) < 0.75) & (y > 0.35) & (y < 0.95)
        if not cheeks.any():
            face = cheeks = np.ones_like(face)
        weight = np.where(face, np.float32(1), np.float32(0.002))
        sigma = 0.38 * camera.scale / cell
        smooth = cv2.GaussianBlur(luma * weight, (0, 0), sigma) / cv2.GaussianBlur(
            weight, (0, 0), sigma
        )
        level = max(float(np.median(luma[cheeks])), 0.04)
        # Lips, nostrils and stubble make a face darker than the light on it would suggest.
        usual = 0.3 * level + 0.7 * float(smooth[face].mean())
        color = np.median(small[cheeks], axis=0)
        # A white object is about 1.5 times as bright as skin, unless the skin is dark; then the
        # brightest parts of the photo are a better guide.
        over_skin = 1.5 * level
        full = float(
            np.clip(max(over_skin, 0.5 * (over_skin + float(np.percentile(luma, 97)))), 0.25, 1.0)
        )
        bright = small[luma >= np.percentile(luma, 75)].mean(0)
        tint = np.clip(1 + 0.25 * (bright / max(float(bright.mean()), 0.05) - 1), 0.85, 1.15)
        spread = float((small.max(-1) - small.min(-1))[face].mean())
        return cls(
            ratio=np.clip(smooth / usual, 0.35, 1.4).astype(np.float32),
            place=np.array(
                [[cell_x, 0, left + cell_x / 2 - 0.5], [0, cell_y, top + cell_y / 2 - 0.5]],
                dtype=np.float32,
            ),
            white=(full * tint).astype(np.float32),
            gray=float(np.clip(1 - (spread - 0.01) / 0.03, 0, 1)),
            skin=np.clip(color[::-1] / full, 0.03, 1).astype(np.float32),
            blur=_blur_of(_around_eyes(image, landmarks)),
            noise=_noise_of(
                part[
                    part.shape[0] // 6 : part.shape[0] * 2 // 3,
                    part.shape[1] // 4 : part.shape[1] * 3 // 4,
                ]
            ),
        )

    def shine(self, color: FloatArray, left: int, top: int, strength: float) -> FloatArray:
        """Light a layer that starts at pixel (left, top); return BGR float32 from 0 to 255.

        The layer is RGB (H, W, 3) from 0 to 1, premultiplied by its alpha.
        """
        place = self.place - np.array([[0, 0, left], [0, 0, top]], dtype=np.float32)
        size = color.shape[1], color.shape[0]
        ratio = np.asarray(
            cv2.warpAffine(
                self.ratio, place, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        )
        lit = (
            color[..., ::-1]
            * (self.white * np.float32(255 * strength))
            * (np.float32(0.2) + np.float32(0.8) * ratio)[..., None]
        )
        if self.gray:
            lit = lit + np.float32(self.gray) * (lit.mean(-1, keepdims=True) - lit)
        return np.asarray(np.minimum(lit, 252), dtype=np.float32)


def _around_eyes(image: ImageArray, landmarks: Landmarks) -> FloatArray:
    middle, reach = landmarks[:2].mean(0), float(np.linalg.norm(landmarks[1] - landmarks[0]))
    around = np.array([0.9 * reach, 0.5 * reach])
    left, top = np.maximum(0, middle - around).astype(int)
    right, bottom = np.maximum(0, middle + around).astype(int)
    return np.asarray(image[top:bottom, left:right, 1], dtype=np.float32)


def _blur_of(gray: FloatArray) -> float:
    """Estimate the sigma of an image's blur from how much it changes if blurred again.

    Based on Crete et al. 2007, doi:10.1117/12.702790.
    """
    if min(gray.shape) < 8:
        return 0.0
    once, twice = cv2.GaussianBlur(gray, (0, 0), 1.0), cv2.GaussianBlur(gray, (0, 0), 2.0)
    fine, coarse = float(np.abs(gray - once).mean()), float(np.abs(once - twice).mean())
    return float(np.interp(fine / max(coarse, 1e-3), _SHARPNESS, _SIGMAS))


def _noise_of(part: ImageArray) -> float:
    """Estimate the sigma of noise (Immerkær 1996, doi:10.1006/cviu.1996.0060).

    Uses the median instead of the mean, so that edges do not count.
    """
    if min(part.shape[:2]) < 5:
        return 0.0
    gray = part[..., 1].astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    return float(
        min(12.0, np.median(np.abs(cv2.filter2D(gray, -1, kernel)[::2, ::2])) * 1.4826 / 6)
    )
