"""Other people's YOLO face detectors, as the first stage of two or to label photos with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from maskyolo.core.boxes import as_boxes
from maskyolo.core.classes import class_of, plain_name
from maskyolo.core.images import ImageArray
from maskyolo.detectors.classes import NetworkClasses
from maskyolo.detectors.faces.base import Faces
from maskyolo.detectors.yolo import YoloDetector
from maskyolo.errors import WeightsError
from maskyolo.models.backends.loading import load_backend
from maskyolo.models.own import find_model

__all__ = ["YoloFaces"]

_FACE = "face"


class YoloFaces:
    """A YOLO detector whose only class, or whose classes with and without a mask, are faces.

    Args:
        weights: its `.onnx`, `.xml` or `.pt` file, or the name of one of our models.
        conf: minimum score of a face.
        trust: whether to load a `.pt` file of unknown origin.
        threads: maximum number of CPU threads that it computes with. Default: one per core.

    Raises:
        WeightsError: there is no such file, or it has several classes and none of them is a face.
    """

    name = "yolo"

    def __init__(
        self,
        weights: Path | str,
        conf: float = 0.5,
        trust: bool = False,
        threads: int | None = None,
    ) -> None:
        path = find_model(weights)
        network = load_backend(path, trust=trust, threads=threads)
        names = network.names
        faces = tuple(
            number
            for number, name in enumerate(names)
            if len(names) == 1 or plain_name(name) in ("face", "faces") or class_of(name)
        )
        if not faces:
            raise WeightsError(
                f"wrong weights {path}: none of its {len(names)} classes is a face",
                "use a detector of faces only",
            )
        meanings = tuple(_FACE if number in faces else "ignore" for number in range(len(names)))
        classes = NetworkClasses((_FACE,), (faces,), names, meanings)
        self._detector = YoloDetector(network, conf=conf, classes=classes)

    def detect(self, image: ImageArray) -> Faces:
        """Return the faces in a BGR uint8 image (H, W, 3), best score first, clipped to it."""
        found = self._detector(image)
        return Faces(as_boxes(found.xyxy), np.asarray(found.confidence, dtype=np.float32))
