"""Makes faces unrecognizable in everything that is shown and stored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_iou
from maskyolo.core.images import ImageArray
from maskyolo.runtime.frames import Frame

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["BLUR_CONF", "Blur", "pixelate"]

#: Minimum confidence for a detection to be blurred. It is low because blurring a wall is better
#: than missing a face.
BLUR_CONF = 0.1

#: Number of single-colored cells along each side of a blurred face, each of at least `SMALLEST`
#: pixels. Networks recognize faces of 14 x 14 cells (McPherson, Shokri, Shmatikov 2016); 5 x 5 mean
#: colors show no more than skin, hair and mask.
CELLS = 5
SMALLEST = 4

#: Margin added on each side of a box, as a fraction of its width and height.
MARGIN = 0.2

#: How long, in seconds, a place in a video stays hidden after a face was last found there, because
#: detectors miss faces in single frames.
HOLD = 0.5


def pixelate(image: ImageArray, boxes: npt.ArrayLike) -> ImageArray:
    """Return a copy of an image in which each box, with a margin, is reduced to a few color cells.

    Args:
        image: BGR uint8 (H, W, 3).
        boxes: xyxy pixels (n, 4); they are clipped to the image.
    """
    hidden: ImageArray = image.copy()
    height, width = image.shape[:2]
    for x1, y1, x2, y2 in as_boxes(boxes).tolist():
        dx, dy = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
        left, top = max(int(x1 - dx), 0), max(int(y1 - dy), 0)
        right, bottom = min(int(np.ceil(x2 + dx)), width), min(int(np.ceil(y2 + dy)), height)
        if right <= left or bottom <= top:
            continue
        face = hidden[top:bottom, left:right]
        cells = tuple(max(min(CELLS, side // SMALLEST), 1) for side in (right - left, bottom - top))
        colors = cv2.resize(face, cells, interpolation=cv2.INTER_AREA)
        cv2.resize(colors, (right - left, bottom - top), dst=face, interpolation=cv2.INTER_NEAREST)
    return hidden


class Blur:
    """Hides the faces in each frame and, in a video, the places where one was a moment ago."""

    def __init__(self) -> None:
        self._source = ""
        self._held: list[tuple[float, Boxes]] = []

    def __call__(self, frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        """Return the frame with its faces hidden, and the detections unchanged."""
        boxes = as_boxes(detections.xyxy)
        if frame.kind == "image":
            return replace(frame, image=pixelate(frame.image, boxes)), detections
        if frame.source != self._source:
            self._source, self._held = frame.source, []
        self._held = [
            (time, box)
            for time, box in self._held
            if 0 <= frame.time - time <= HOLD
            and not (box_iou(box, boxes) > 0.5).any()  # else it was found again
        ]
        self._held += [(frame.time, box[None]) for box in boxes]
        hidden = pixelate(frame.image, [box[0] for _, box in self._held])
        return replace(frame, image=hidden), detections
