"""The Haar cascade for frontal faces that OpenCV includes; the oldest projects use it."""

from __future__ import annotations

from pathlib import Path

import cv2
import cv2.data
import numpy as np

from maskyolo.core.boxes import as_boxes, clip_boxes
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.base import Faces

__all__ = ["Haar"]


class Haar:
    """The cascade `haarcascade_frontalface_default.xml`.

    From Viola and Jones 2001, DOI 10.1109/CVPR.2001.990517.

    It has no scores: every face gets the score 1. Larger faces come first.
    """

    name = "haar"

    def __init__(self) -> None:
        self._cascade = cv2.CascadeClassifier(
            str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")
        )

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces in a BGR uint8 image (H, W, 3), boxes clipped to it.

        Uses the common settings: scale factor 1.1, five neighbors.
        """
        height, width = image.shape[:2]
        found = np.asarray(
            self._cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 1.1, 5)
        ).reshape(-1, 4)
        found = found[np.argsort(-found[:, 2], kind="stable")]
        boxes = clip_boxes(
            as_boxes(np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)),
            width,
            height,
        )
        return Faces(boxes, np.ones(len(boxes), dtype=np.float32))
