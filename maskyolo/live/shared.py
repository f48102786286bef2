"""One network for all cameras and requests, one image at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from maskyolo.core.detector import Detector, class_names_of
from maskyolo.core.images import ImageArray

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["SharedDetector"]


class SharedDetector:
    """A detector that any number of threads may call; they take turns.

    Attributes:
        class_names: the classes that it reports.
    """

    def __init__(self, detector: Detector) -> None:
        self.class_names = class_names_of(detector)
        self._detector = detector
        self._lock = threading.Lock()

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in an image; see `Detector`."""
        with self._lock:
            return self._detector(image)

    def detect_photo(self, image: ImageArray) -> sv.Detections:
        """Detect in a still image, as `maskyolo detect` does."""
        with self._lock:
            found: sv.Detections = getattr(self._detector, "detect_photo", self._detector)(image)
            return found
