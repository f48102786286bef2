"""The mask detector that decides the class of bystanders."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from maskyolo.core.boxes import clip_boxes
from maskyolo.core.files import sha256_of
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.convention import to_convention

if TYPE_CHECKING:
    import supervision as sv

#: Longer side in pixels of the mask detector's input, and what both sides are multiples of. The
#: network is compiled once per input shape, which takes as long as processing ten photos; the
#: coarse multiple limits the number of shapes to nine.
_JUDGE_SIDE, _JUDGE_STEP = 640, 128


class MaskJudge:
    """Our own mask detector, loaded for the first photo that needs it and shared by all threads.

    Args:
        convention: whether its boxes are moved to this project's convention.
    """

    name = "maskyolo-n-folders"

    def __init__(self, convention: bool = True) -> None:
        self._convention = convention
        self._lock = threading.Lock()
        self._detector: Callable[[ImageArray], sv.Detections] | None = None

    @classmethod
    def checksum(cls) -> str:
        """Return the SHA-256 of its weights; if they change, an update decides again."""
        from maskyolo.models.own import find_model

        return sha256_of(find_model(cls.name))

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect faces with and without a mask in a BGR image, uint8 (H, W, 3).

        Returns detections with a confidence of at least 0.1, in pixels of the image.
        """
        from maskyolo.detectors.loading import load_detector
        from maskyolo.detectors.yolo import letterbox, network_shape

        with self._lock:
            if self._detector is None:
                # fp32, for the same boxes on every machine; two threads at once, one core each
                self._detector = load_detector(
                    self.name, conf=0.1, imgsz=_JUDGE_SIDE, precision="fp32", streams=2
                )
        height, width = image.shape[:2]
        rows, columns = (
            -(-side // _JUDGE_STEP) * _JUDGE_STEP
            for side in network_shape(height, width, _JUDGE_SIDE)
        )
        canvas, scales, border = letterbox(image, (rows, columns))
        found = self._detector(canvas)
        boxes = (found.xyxy - np.tile(border, 2)) / np.tile(scales, 2)
        boxes = clip_boxes(boxes, width, height)
        if self._convention:
            boxes = clip_boxes(to_convention(boxes, self.name), width, height)
        found.xyxy = boxes
        return found
