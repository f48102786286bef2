"""maskyolo-n-folders as third opinion: where it draws a face that the SSD or YuNet see.

It learnt from boxes that these two drew, thousands of them; so its boxes have less of the chance that is in each of theirs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_iou
from maskyolo.faces.ssd import cut_window
from maskyolo.images import ImageArray

__all__ = ["ThirdOpinion"]

#: What it is shown of a face: a window of this many times its side, scaled to so many pixels, its border in the grey it learnt with.
_WINDOW, _WINDOW_SIDE, _GREY = 2.0, 128, (114.0, 114.0, 114.0)
#: Its boxes count from this score on, and from this overlap with the face.
_CONF, _SAME_IOU = 0.1, 0.35


class ThirdOpinion:
    """maskyolo-n-folders on windows around faces; its classes are not heeded."""

    name = "maskyolo-n-folders"

    def __init__(self) -> None:
        from maskyolo.yolo import load_detector  # it may have a face detector of its own, from this package

        self._detector = load_detector(self.name, conf=_CONF, imgsz=_WINDOW_SIDE, precision="fp32", streams=2)  # a core each

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
            found = self._detector(cut_window(image, left, top, side, _WINDOW_SIDE, _GREY))
            boxes = as_boxes(found.xyxy * side / _WINDOW_SIDE + [left, top, left, top])
            overlaps = box_iou(boxes, place)[:, 0]
            if overlaps.max(initial=0) > _SAME_IOU and found.confidence is not None:
                best = int(overlaps.argmax())
                row[:] = [*boxes[best], found.confidence[best]]
        return seen
