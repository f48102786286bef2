"""What every detector of this package is, whatever computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from maskyolo.core.images import ImageArray

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Detector"]


class Detector(Protocol):
    """Finds faces in an image and decides for each whether it wears a mask.

    A detector that can be called from several threads at once says from how many with an integer
    attribute `workers`.
    """

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in an image.

        Args:
            image: BGR uint8 (H, W, 3).

        Returns:
            `xyxy` in pixels, `confidence`, `class_id` and `data["class_name"]`.
        """
        ...
