"""Turns decoded frames into images as a player shows them: upright, with square pixels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from maskyolo.core.images import ImageArray
from maskyolo.runtime.ffmpeg import MAX_PIXELS

__all__ = ["Upright"]

#: Pixels that are this close to squares are taken as square; some containers round the ratio.
ALMOST_SQUARE = Fraction(2, 100)
#: Maximum ratio of a pixel's sides. A larger one is an error of the file.
MAX_RATIO = 8


class Upright:
    """Converts a stream's frames to BGR uint8 (H, W, 3), upright and with square pixels.

    Args:
        stream: PyAV's video stream.
    """

    def __init__(self, stream: Any) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter: Any = VideoReformatter()
        ratio = stream.sample_aspect_ratio
        plausible = ratio and Fraction(1, MAX_RATIO) <= ratio <= MAX_RATIO
        stretched = plausible and abs(ratio - 1) > ALMOST_SQUARE
        self._ratio: Fraction | None = ratio if stretched else None
        self._rotation: int | None = None
        self._matrix: Any = None

    def __call__(self, decoded: Any) -> ImageArray:
        """Return a decoded frame as an image; PyAV's `VideoFrame` is not changed."""
        size = {} if self._ratio is None else _square(decoded.width, decoded.height, self._ratio)
        made = self._reformatter.reformat(decoded, format="bgr24", **size)
        if made is decoded:  # the decoder may still need its buffer
            image: ImageArray = made.to_ndarray()
        else:
            rows = np.frombuffer(made.planes[0], np.uint8).reshape(
                made.height, made.planes[0].line_size
            )
            # copied only if rows are padded
            image = np.ascontiguousarray(rows[:, : 3 * made.width])
            image = image.reshape(made.height, made.width, 3)
        if decoded.rotation != self._rotation:
            # not for every frame: reading it delays freeing the frame to a garbage collection
            self._rotation = decoded.rotation
            matrix = decoded.side_data.get("DISPLAYMATRIX")
            self._matrix = None if matrix is None else np.frombuffer(matrix, np.int32).copy()
        return image if self._matrix is None else _turned(image, self._matrix)


def _square(width: int, height: int, ratio: Fraction) -> dict[str, int]:
    """Return the size of a frame with square pixels.

    One side is enlarged, so that no detail is lost, or the other shrunk if that exceeds the limit.
    """
    fits = width * height * max(ratio, 1 / ratio) <= MAX_PIXELS
    if fits == (ratio > 1):
        return {"width": max(round(width * ratio), 1), "height": height}
    return {"width": width, "height": max(round(height / ratio), 1)}


def _turned(image: ImageArray, matrix: Any) -> ImageArray:
    """Return an image turned and mirrored by a display matrix, int32 (9,).

    A pixel at (x, y) is shown at (a x + c y, b x + d y), up to a shift and a scale; see
    FFmpeg's `libavutil/display.h`. Other angles than multiples of 90 degrees are rounded to these.
    """
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    if abs(b) > abs(a):
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
