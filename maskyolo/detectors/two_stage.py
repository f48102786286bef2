"""The two-stage pipeline of the projects of 2020: find faces, then classify a crop of each."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray, check_image
from maskyolo.detectors.classifier import Classifier
from maskyolo.detectors.faces.base import FaceDetector

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["TwoStageDetector"]


class TwoStageDetector:
    """Finds faces with one network, and with another decides whether each wears a mask.

    The confidence of a detection is the face's score times the probability of its class. As in the
    single-stage detector, it is low if either is doubtful. Haar has no scores; all its faces have
    a score of 1.

    Args:
        face_detector: the first stage.
        classifier: the second stage.
        conf: minimum confidence of a detection.
        max_det: maximum number of detections per image.

    Attributes:
        report_scores: whether detections include the scores of the first stage, as
            `data["face_score"]`.
    """

    def __init__(
        self,
        face_detector: FaceDetector,
        classifier: Classifier,
        conf: float = 0.25,
        max_det: int = 300,
    ) -> None:
        self.face_detector, self.classifier = face_detector, classifier
        self.conf, self.max_det = conf, max_det
        self._finding = threading.Lock()
        self.report_scores = False

    @property
    def title(self) -> str:
        """Both stages, such as "ssd-plain, then mobilenet_v2 (OpenVINO CPU fp32)"."""
        return f"{self.face_detector.name}, then {self.classifier.title}"

    @property
    def description(self) -> str:
        """The two stages, their runtimes, device and precision, in one line."""
        return (
            f"two stages: {self.face_detector.name} in OpenCV, then {self.classifier.description}"
        )

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in one image.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `supervision.Detections` as from `YoloDetector`, most confident first.
        """
        from maskyolo.core.lazy_supervision import sv

        check_image(image)
        with self._finding:  # OpenCV's networks keep the last image's state
            faces = self.face_detector.detect(image)
        probabilities = self.classify(image, faces.boxes)
        class_ids = probabilities.argmax(axis=1)
        confidence = faces.scores * probabilities.max(axis=1)
        order = np.argsort(-confidence, kind="stable")
        kept = order[confidence[order] > self.conf][: self.max_det]
        return sv.Detections(
            xyxy=faces.boxes[kept],
            confidence=confidence[kept],
            class_id=class_ids[kept],
            data={"class_name": np.array(CLASS_NAMES)[class_ids[kept]]}
            | ({"face_score": faces.scores[kept]} if self.report_scores else {}),
        )

    def classify(self, image: ImageArray, boxes: Boxes) -> npt.NDArray[np.float32]:
        """Run only the second stage.

        Args:
            image: BGR uint8 (H, W, 3).
            boxes: the faces, xyxy pixels (n, 4).

        Returns:
            Probabilities float32 (n, 2), with_mask first.
        """
        return self.classifier(image, boxes)
