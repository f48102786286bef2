"""maskyolo-n-folders as third opinion: where it draws a face that the SSD or YuNet see, and what they miss.

It learnt from boxes that these two drew, thousands of them; so its boxes have less of the chance that is in each of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_iou
from maskyolo.faces.ssd import cut_window
from maskyolo.images import ImageArray

if TYPE_CHECKING:
    from maskyolo.yolo import YoloDetector

__all__ = ["MaskModel"]

#: What it is shown of a face: a window of this many times its side, scaled to so many pixels, its border in the grey it learnt with.
_WINDOW, _WINDOW_SIDE, _GREY = 2.0, 128, (114.0, 114.0, 114.0)
#: Its boxes count from this score on, and from this overlap with the face.
_CONF, _SAME_IOU = 0.1, 0.35
#: It is shown the whole picture with a border of half its longer side, scaled to so many pixels; what it sees there counts from this score.
_BORDER, _WHOLE_SIDE, _WHOLE_CONF = 0.5, 256, 0.5


class MaskModel:
    """maskyolo-n-folders on windows around faces, and on the whole picture; its classes are not heeded."""

    name = "maskyolo-n-folders"

    def __init__(self) -> None:
        from maskyolo.backends import load_backend
        from maskyolo.yolo import (
            YoloDetector,
            find_model,
        )  # it may have a face detector of its own, from this package

        network = load_backend(find_model(self.name), streams=2, precision="fp32")  # a core each
        self._near = YoloDetector(network, imgsz=_WINDOW_SIDE, conf=_CONF)
        self._whole = YoloDetector(network, imgsz=_WHOLE_SIDE, conf=_WHOLE_CONF)

    def look(self, image: ImageArray) -> npt.NDArray[np.float32]:
        """Return the faces that it is sure of in a whole BGR uint8 picture (H, W, 3), as `look_at` does, best first."""
        height, width = image.shape[:2]
        side = (1 + 2 * _BORDER) * max(height, width)
        return _see(self._whole, image, (width - side) / 2, (height - side) / 2, side)

    def look_at(self, image: ImageArray, places: Boxes) -> npt.NDArray[np.float32]:
        """Return the face that it sees at each place.

        Args:
            image: BGR uint8 (H, W, 3).
            places: xyxy pixels (n, 4).

        Returns:
            float32 (n, 5): xyxy pixels, not clipped to the picture, and a score, 0 where it sees no face.
        """
        seen = np.zeros((len(places), 5), dtype=np.float32)
        for row, place in zip(seen, as_boxes(places), strict=True):
            side = _WINDOW * float((place[2:] - place[:2]).max())
            left, top = (float(value) - side / 2 for value in (place[:2] + place[2:]) / 2)
            found = _see(self._near, image, left, top, side)
            overlaps = box_iou(found[:, :4], place)[:, 0]
            if overlaps.max(initial=0) > _SAME_IOU:
                row[:] = found[overlaps.argmax()]
        return seen


def _see(
    detector: YoloDetector, image: ImageArray, left: float, top: float, side: float
) -> npt.NDArray[np.float32]:
    """Return what a detector sees in a square window of the picture, in the picture's pixels, with scores: float32 (n, 5)."""
    found = detector(cut_window(image, left, top, side, detector.imgsz, _GREY))
    boxes = as_boxes(found.xyxy * side / detector.imgsz + [left, top, left, top])
    return np.column_stack([boxes, np.asarray(found.confidence, dtype=np.float32)])
