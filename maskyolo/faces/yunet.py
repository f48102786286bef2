"""YuNet (Wu, Peng and Yu 2023, DOI 10.1007/s11633-023-1423-y), OpenCV Zoo's small face detector with five landmarks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.boxes import box_area, clip_boxes
from maskyolo.faces import Faces
from maskyolo.images import ImageArray
from maskyolo.manifest import find_weights

__all__ = ["YuNet"]

#: Pictures are scaled down to this longer side, border included.
_SIDE = 640
#: Width of the border on every side, as a share of the longer side; a face that fills the picture is missed without.
_BORDER = 0.25
#: Overlap from which the weaker of two boxes is dropped, and the number of candidates for that; as in OpenCV Zoo's demo.
_NMS_IOU, _TOP = 0.3, 5000
_MEAN = (104.0, 177.0, 123.0)


class YuNet:
    """YuNet on the picture with a border around it; boxes clipped to the picture, with landmarks.

    Not safe to share between threads, as all networks of `cv2.dnn`.
    """

    name = "yunet"

    def __init__(self, weights: Path | str | None = None, conf: float = 0.5) -> None:
        model = find_weights("yunet", weights)
        self._net = cv2.FaceDetectorYN.create(str(model), "", (_SIDE, _SIDE), conf, _NMS_IOU, _TOP)

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces of a BGR uint8 picture (H, W, 3) with their `landmarks`."""
        height, width = image.shape[:2]
        rows = self._forward(image)
        boxes = clip_boxes(np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1), width, height)
        seen = box_area(boxes) > 0
        return Faces(boxes[seen], rows[seen, 14], landmarks=rows[seen, 4:14].reshape(-1, 5, 2))

    def _forward(self, image: ImageArray) -> npt.NDArray[np.float32]:
        """Return OpenCV's rows (n, 15), best first: xywh, five xy landmarks, score; in pixels of the picture."""
        height, width = image.shape[:2]
        scale = min(1.0, _SIDE / (max(height, width) * (1 + 2 * _BORDER)))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        border = round(_BORDER * max(size))
        canvas = cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_CONSTANT, value=_MEAN)
        self._net.setInputSize((canvas.shape[1], canvas.shape[0]))
        _, found = self._net.detect(canvas)
        rows = np.zeros((0, 15), dtype=np.float32) if found is None else np.array(found, dtype=np.float32)
        rows[:, [0, 1, *range(4, 14)]] -= border
        rows[:, 0:14:2] *= width / size[0]
        rows[:, 1:14:2] *= height / size[1]
        return rows[np.argsort(-rows[:, 14], kind="stable")]
