"""The interface of all detectors, whatever runtime they use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from maskyolo.core.images import ImageArray

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Detector"]


class Detector(Protocol):
    """Finds faces in an image and decides for each whether it wears a mask.

    A detector that supports concurrent calls has an integer attribute `workers`: the number of
    threads that may call it at once.
    """

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in an image.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `xyxy` in pixels, `confidence`, `class_id` and `data["class_name"]`.
        """
        ...
