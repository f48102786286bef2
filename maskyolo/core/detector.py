"""The interface of all detectors, whatever runtime they use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.images import ImageArray

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Detector", "class_names_of"]


class Detector(Protocol):
    """Finds faces in an image and decides for each whether it wears a mask.

    A detector that supports concurrent calls has an integer attribute `workers`: the number of
    threads that should call it at once. One that reports classes other than `CLASS_NAMES` has an
    attribute `class_names`: their names by class id, see `class_names_of`. One that detects faster
    in many photos of different shapes if it knows that they are photos has a method `detect_photo`.
    """

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in an image.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `xyxy` in pixels, `confidence`, `class_id` and `data["class_name"]`.
        """
        ...


def class_names_of(detector: Detector) -> tuple[str, ...]:
    """Return the names of the classes that a detector reports, by class id."""
    names: tuple[str, ...] = getattr(detector, "class_names", CLASS_NAMES)
    return names
