"""maskyolo-n-folders as a face detector: improves boxes of known faces, and finds missed faces.

It was trained on thousands of boxes from SSD and YuNet, so its boxes vary less than theirs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_iou
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.ssd import cut_window
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.own import find_model

__all__ = ["MaskModel"]

#: To see one face, the model gets a window this many times the face's side, scaled to this many
#: pixels; the border is the gray used in its training.
_WINDOW, _WINDOW_SIDE, _GRAY = 2.0, 128, (114.0, 114.0, 114.0)
#: Minimum score of its boxes in windows, and their minimum overlap (IoU) with the face.
_CONF, _SAME_IOU = 0.1, 0.35
#: To see all faces, it gets the whole image with a border of this fraction of its longer side,
#: scaled to this many pixels. The last value is the minimum score there.
_BORDER, _WHOLE_SIDE, _WHOLE_CONF = 0.5, 256, 0.1


class MaskModel:
    """maskyolo-n-folders on windows around faces and on whole images; its classes are ignored."""

    name = "maskyolo-n-folders"

    def __init__(self) -> None:
        network = load_backend(find_model(self.name), streams=2, precision="fp32")  # one core each
        self._near = YoloDetector(network, imgsz=_WINDOW_SIDE, conf=_CONF)
        self._whole = YoloDetector(network, imgsz=_WHOLE_SIDE, conf=_WHOLE_CONF)

    def detect_all(self, image: ImageArray) -> npt.NDArray[np.float32]:
        """Return the faces that it finds in a whole image, however weakly, best first.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            float32 (n, 5): xyxy pixels, not clipped to the image, and a score.
        """
        height, width = image.shape[:2]
        side = (1 + 2 * _BORDER) * max(height, width)
        return _detect_in(self._whole, image, (width - side) / 2, (height - side) / 2, side)

    def detect_near(self, image: ImageArray, regions: Boxes) -> npt.NDArray[np.float32]:
        """Return the face that it finds in each region.

        Args:
            image: BGR uint8 (H, W, 3).
            regions: xyxy pixels (n, 4).

        Returns:
            float32 (n, 5): xyxy pixels, not clipped to the image, and a score, which is 0 if it
            finds no face.
        """
        faces = np.zeros((len(regions), 5), dtype=np.float32)
        for row, region in zip(faces, as_boxes(regions), strict=True):
            side = _WINDOW * float((region[2:] - region[:2]).max())
            left, top = (float(value) - side / 2 for value in (region[:2] + region[2:]) / 2)
            found = _detect_in(self._near, image, left, top, side)
            overlaps = box_iou(found[:, :4], region)[:, 0]
            if overlaps.max(initial=0) > _SAME_IOU:
                row[:] = found[overlaps.argmax()]
        return faces


def _detect_in(
    detector: YoloDetector, image: ImageArray, left: float, top: float, side: float
) -> npt.NDArray[np.float32]:
    """Detect in a square window of the image; return boxes in image pixels and scores (n, 5)."""
    found = detector(cut_window(image, left, top, side, detector.imgsz, _GRAY))
    boxes = as_boxes(found.xyxy * side / detector.imgsz + [left, top, left, top])
    return np.column_stack([boxes, np.asarray(found.confidence, dtype=np.float32)])
