"""Where a face's box begins and ends in a data set, and what each detector draws instead.

A face's box goes from the eyebrows to the chin, and from one side of the face to the other, without
the ears, as the annotators of the Kaggle set andrewmvd/face-mask-detection (CC0) draw it. The face
detectors were trained on other people's boxes, most of which include the forehead. So each side of
a detector's box is moved by fractions of the box's width and height.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskyolo.core.boxes import Boxes, as_boxes, clip_boxes
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.base import FaceDetector, Faces

__all__ = ["SHIFTS", "InConvention", "to_convention"]

#: The name of our own detector, by origins, whose boxes a combination of detectors may contain.
_MODEL = "maskyolo-n-folders"
#: By detector: how far the left, top, right and bottom of its boxes are moved, each as a fraction
#: of the box's width and a fraction of its height, which are added up. With both, a box whose
#: forehead the image cuts off, which is wider for its height, moves less. Fitted by
#: benchmarks/convention.py on 300 crops around 60 faces of kaggle853/train.txt (ssd-plain: 80
#: faces). On crops around 60 others, the mean IoU of the default detectors rose from 0.746 to
#: 0.833. Fit them again if the weights of maskyolo-n-folders change, and raise the version of the
#: settings in convert.py.
SHIFTS: dict[str, tuple[tuple[float, float], ...]] = {
    "maskyolo-n-folders": ((-0.006, 0), (-0.461, 0.507), (0.027, 0), (0.083, -0.005)),
    "ssd+yunet+maskyolo-n-folders": ((-0.004, 0), (-0.401, 0.462), (0.023, 0), (0.086, -0.004)),
    "ssd+yunet": ((-0.013, 0), (-0.355, 0.425), (0.032, 0), (0.212, -0.08)),
    "ssd": ((-0.011, 0), (-0.374, 0.448), (0.033, 0), (0.279, -0.145)),
    "haar": ((0.081, 0), (0.17, 0.002), (-0.111, 0), (0.092, 0.003)),
    "yunet": ((0, 0), (-0.335, 0.413), (0.028, 0), (0.197, -0.061)),
    "ssd-plain": ((-0.021, 0), (-0.271, 0.382), (0.029, 0), (0.369, -0.202)),
}
#: The top moves down by at most this fraction of the height, and never up: otherwise, narrow boxes
#: of profiles and of faces at the side of an image would lose their eyes.
_LOWEST_TOP = 0.22


def to_convention(boxes: Boxes, detector: str) -> Boxes:
    """Return a detector's boxes with their sides where this project's data sets have them.

    Args:
        boxes: xyxy pixels (n, 4); they need not be clipped to the image.
        detector: its name; the boxes of one without an entry in `SHIFTS` are not changed.

    Returns:
        xyxy pixels, float32 (n, 4), not clipped to the image.
    """
    boxes = as_boxes(boxes)
    if detector not in SHIFTS:
        return boxes.copy()
    sides = boxes[:, 2:] - boxes[:, :2]
    shifts = sides @ np.asarray(SHIFTS[detector], dtype=np.float32).T
    shifts[:, 1] = shifts[:, 1].clip(0, _LOWEST_TOP * sides[:, 1])
    return as_boxes(boxes + shifts)


class InConvention:
    """A face detector whose boxes are moved to this project's convention.

    A box that only our own mask detector finds is moved as that one's boxes.
    `doubtful` boxes stay as the detector draws them: they are only blanked out.

    Attributes:
        name: the detector's name.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self.name = detector.name
        self._detector = detector

    def detect(self, image: ImageArray) -> Faces:
        """Return the detector's faces in a BGR uint8 image (H, W, 3), boxes clipped to it."""
        faces = self._detector.detect(image)
        height, width = image.shape[:2]
        boxes = to_convention(faces.boxes, self.name)
        if _MODEL in faces.origins:
            own = np.array([origin == _MODEL for origin in faces.origins])
            boxes[own] = to_convention(faces.boxes[own], _MODEL)
        return replace(faces, boxes=clip_boxes(boxes, width, height))
