"""YuNet (Wu, Peng and Yu 2023, DOI 10.1007/s11633-023-1423-y), OpenCV Zoo's small face detector with five landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.boxes import box_area, clip_boxes
from maskyolo.faces import Faces
from maskyolo.images import ImageArray
from maskyolo.manifest import find_weights

__all__ = ["YuNet", "YuNetLook"]

#: Overlap from which the weaker of two boxes is dropped, and the number of candidates for that; as in OpenCV Zoo's demo.
_NMS_IOU, _TOP = 0.3, 5000
_BORDER_COLOUR = (104.0, 177.0, 123.0)


@dataclass(frozen=True)
class YuNetLook:
    """One way to show the picture to YuNet: its longer side scaled to `side` pixels, and a border of this share of it."""

    side: int
    border: float = 0.0


#: Faces that fill the picture are missed without a border.
WHOLE = YuNetLook(320, border=0.25)
_SMALL_FACES = YuNetLook(640)
#: On pictures of a pixel's height OpenCV 4.14 reads memory that is not the picture's, and finds faces there or crashes.
_LEAST_SIDE = 64


class YuNet:
    """YuNet on the picture with a border around it, and on large ones once more for small faces; with landmarks.

    Not safe to share between threads, as all networks of `cv2.dnn`.
    """

    name = "yunet"

    def __init__(self, weights: Path | str | None = None, conf: float = 0.5) -> None:
        self.conf = conf
        self._net = cv2.FaceDetectorYN.create(str(find_weights("yunet", weights)), "", (320, 320), conf, _NMS_IOU, _TOP)

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces of a BGR uint8 picture (H, W, 3) with their `landmarks`, boxes clipped to the picture."""
        faces = self.look(image, WHOLE)
        if max(image.shape[:2]) < 1.5 * WHOLE.side:
            return faces
        more = self.look(image, _SMALL_FACES)
        boxes = np.concatenate([faces.boxes, more.boxes])
        scores = np.concatenate([faces.scores, more.scores])
        landmarks = np.concatenate([np.asarray(faces.landmarks), np.asarray(more.landmarks)])
        xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        kept = np.asarray(cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), self.conf, _NMS_IOU), dtype=np.intp).reshape(-1)
        return Faces(boxes[kept], scores[kept], landmarks=landmarks[kept])

    def look(self, image: ImageArray, look: YuNetLook, conf: float | None = None) -> Faces:
        """Return the faces of one look, from the score `conf` on (default: the detector's), best first."""
        height, width = image.shape[:2]
        rows = self._forward(image, look, self.conf if conf is None else conf)
        boxes = clip_boxes(np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1), width, height)
        seen = box_area(boxes) > 0
        return Faces(boxes[seen], rows[seen, 14], landmarks=rows[seen, 4:14].reshape(-1, 5, 2))

    def _forward(self, image: ImageArray, look: YuNetLook, conf: float) -> npt.NDArray[np.float32]:
        """Return OpenCV's rows (n, 15), best first: xywh, five xy landmarks, score; in pixels of the picture."""
        height, width = image.shape[:2]
        scale = look.side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        border_x, border_y = (max(round(look.border * look.side), (_LEAST_SIDE - side + 1) // 2) for side in size)
        canvas = cv2.copyMakeBorder(scaled, border_y, border_y, border_x, border_x, cv2.BORDER_CONSTANT, value=_BORDER_COLOUR)
        self._net.setInputSize((canvas.shape[1], canvas.shape[0]))
        self._net.setScoreThreshold(conf)
        _, found = self._net.detect(canvas)
        rows = np.zeros((0, 15), dtype=np.float32) if found is None else np.array(found, dtype=np.float32)
        rows = rows[np.isfinite(rows).all(axis=1)]
        rows[:, [0, *range(4, 14, 2)]] -= border_x
        rows[:, [1, *range(5, 14, 2)]] -= border_y
        rows[:, 0:14:2] *= width / size[0]
        rows[:, 1:14:2] *= height / size[1]
        return rows[np.argsort(-rows[:, 14], kind="stable")]
