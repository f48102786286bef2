"""YuNet, a small face detector with five landmarks from OpenCV Zoo.

Wu, Peng and Yu 2023, DOI 10.1007/s11633-023-1423-y.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import box_area, clip_boxes
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.base import Faces
from maskyolo.models.weights import find_weights

__all__ = ["YuNet", "YuNetPass"]

#: Overlap (IoU) above which the weaker of two boxes is dropped, and the maximum number of boxes
#: before NMS, as in OpenCV Zoo's demo.
_NMS_IOU, _TOP = 0.3, 5000
_BORDER_COLOR = (104.0, 177.0, 123.0)


@dataclass(frozen=True)
class YuNetPass:
    """How the image is shown to YuNet in one pass.

    Attributes:
        side: longer side in pixels that the image is scaled to.
        border: width of the border on every side, as a fraction of `side`.
    """

    side: int
    border: float = 0.0


#: Without a border, YuNet misses faces that fill the image.
WHOLE = YuNetPass(320, border=0.25)
_SMALL_FACES = YuNetPass(640)
#: Minimum width and height of the input with its border, because an image may be one pixel high.
_MIN_SIDE = 64
#: Strides in pixels of the network's three outputs. The input's sides are multiples of the last
#: one.
_STRIDES = (8, 16, 32)


class YuNet:
    """YuNet on the image with a border, and a second pass over large images for small faces.

    It runs in OpenVINO on one core, which gives the same results as OpenCV's FaceDetectorYN in two
    thirds of the time. An instance must not be shared between threads.
    """

    name = "yunet"

    def __init__(self, weights: Path | str | None = None, conf: float = 0.5) -> None:
        from maskyolo.models.backends.openvino import OpenVinoNetwork

        self.conf = conf
        network = OpenVinoNetwork(find_weights("yunet", weights))
        network.take_pixels()
        self._request = network.compile(threads=1).create_infer_request()

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces in a BGR uint8 image (H, W, 3), with clipped boxes and `landmarks`."""
        faces = self.detect_pass(image, WHOLE)
        if max(image.shape[:2]) < 1.5 * WHOLE.side:
            return faces
        more = self.detect_pass(image, _SMALL_FACES)
        boxes = np.concatenate([faces.boxes, more.boxes])
        scores = np.concatenate([faces.scores, more.scores])
        landmarks = np.concatenate([np.asarray(faces.landmarks), np.asarray(more.landmarks)])
        xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        kept = np.asarray(
            cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), self.conf, _NMS_IOU), dtype=np.intp
        ).reshape(-1)
        return Faces(boxes[kept], scores[kept], landmarks=landmarks[kept])

    def detect_pass(self, image: ImageArray, one: YuNetPass, conf: float | None = None) -> Faces:
        """Return the faces found in one pass, best first.

        Args:
            image: BGR uint8 (H, W, 3).
            one: how the image is shown.
            conf: minimum score. Default: the detector's.
        """
        height, width = image.shape[:2]
        rows = self._forward(image, one, self.conf if conf is None else conf)
        boxes = clip_boxes(
            np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1), width, height
        )
        inside = box_area(boxes) > 0
        landmarks = rows[inside, 4:14].reshape(-1, 5, 2)
        return Faces(boxes[inside], rows[inside, 14], landmarks=landmarks)

    def _forward(self, image: ImageArray, one: YuNetPass, conf: float) -> npt.NDArray[np.float32]:
        """Return rows in OpenCV's format, in pixels of the image, best first.

        Returns:
            float32 (n, 15): xywh, five xy landmarks, score.
        """
        height, width = image.shape[:2]
        scale = one.side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        scaled = cv2.resize(
            image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        border_x, border_y = (
            max(round(one.border * one.side), (_MIN_SIDE - side + 1) // 2) for side in size
        )
        borders = border_y, border_y, border_x, border_x
        canvas = np.asarray(
            cv2.copyMakeBorder(scaled, *borders, cv2.BORDER_CONSTANT, value=_BORDER_COLOR),
            dtype=np.uint8,
        )
        rows = _decode(self._infer(canvas), canvas.shape[1], conf)
        rows[:, [0, *range(4, 14, 2)]] -= border_x
        rows[:, [1, *range(5, 14, 2)]] -= border_y
        rows[:, 0:14:2] *= width / size[0]
        rows[:, 1:14:2] *= height / size[1]
        return rows[np.argsort(-rows[:, 14], kind="stable")]

    def _infer(self, canvas: ImageArray) -> dict[str, npt.NDArray[np.float32]]:
        """Return the network's outputs by name, each float32 (places, values).

        The image is padded with black to multiples of the stride.
        """
        bottom, right = (-side % _STRIDES[-1] for side in canvas.shape[:2])
        batch = cv2.copyMakeBorder(canvas, 0, bottom, 0, right, cv2.BORDER_CONSTANT)[None]
        return {
            name: values[0]
            for port, values in self._request.infer([batch]).items()
            for name in port.names
        }


def _decode(
    outputs: dict[str, npt.NDArray[np.float32]], width: int, conf: float
) -> npt.NDArray[np.float32]:
    """Decode the network's outputs as OpenCV's face_detect.cpp does.

    Args:
        outputs: the network's outputs by name.
        width: width of the input before padding, in pixels.
        conf: minimum score.

    Returns:
        float32 (n, 15) in pixels of the input, best first: xywh, five xy landmarks, score.
    """
    found = []
    for stride in _STRIDES:
        columns = -(-width // _STRIDES[-1]) * _STRIDES[-1] // stride
        scores = np.sqrt(
            outputs[f"cls_{stride}"][:, 0].clip(0, 1) * outputs[f"obj_{stride}"][:, 0].clip(0, 1)
        )
        places = np.flatnonzero(scores >= conf)
        corner = np.column_stack([places % columns, places // columns])
        box, points = outputs[f"bbox_{stride}"][places], outputs[f"kps_{stride}"][places]
        sides = np.exp(box[:, 2:]) * stride
        landmarks = (points + np.tile(corner, 5)) * stride
        found.append(
            np.column_stack(
                [(box[:, :2] + corner) * stride - sides / 2, sides, landmarks, scores[places]]
            )
        )
    rows = np.concatenate(found).astype(np.float32)
    rows = rows[np.isfinite(rows).all(axis=1)]
    kept = cv2.dnn.NMSBoxes(
        rows[:, :4].astype(int).tolist(), rows[:, 14].tolist(), conf, _NMS_IOU, 1.0, _TOP
    )
    chosen: npt.NDArray[np.float32] = rows[np.asarray(kept, dtype=np.intp).reshape(-1)]
    return chosen
