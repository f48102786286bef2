"""Detection on overlapping full-resolution tiles, for distant faces in very large images."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from maskyolo.core.detector import class_names_of
from maskyolo.core.images import ImageArray
from maskyolo.errors import MaskyoloError

if TYPE_CHECKING:
    import supervision as sv

    from maskyolo.core.detector import Detector

__all__ = ["SlicedDetector"]

#: Fraction of a tile that its neighbor overlaps; a face up to this size is whole in one of them.
OVERLAP = 0.2

#: If this fraction of a detection's area lies in another, only the more confident of them is kept.
SAME_FACE = 0.5


class SlicedDetector:
    """Runs a detector on tiles of an image and on the whole image, and merges the detections.

    This is slicing aided hyper inference, Akyon et al. 2022, arXiv:2202.06934.

    Args:
        detector: runs on each tile and on the whole image.
        size: side of a tile in pixels; images that fit into one tile are not sliced.

    Raises:
        MaskyoloError: the tiles are too small to contain a face.
    """

    def __init__(self, detector: Detector, size: int = 640) -> None:
        if size < 64:
            raise MaskyoloError(
                f"the tile size of {size} pixels is too small to contain a face",
                "use 320 to 1280",
            )
        self.detector, self.size = detector, size
        self.class_names = class_names_of(detector)

    def __call__(self, image: ImageArray) -> sv.Detections:
        """Detect in one image, BGR uint8 (H, W, 3); see `Detector`."""
        whole = self.detector(image)
        if max(image.shape[:2]) <= self.size:
            return whole
        import supervision as sv

        slicer = sv.InferenceSlicer(
            lambda tile: self.detector(np.ascontiguousarray(tile)),
            slice_wh=(self.size, self.size),
            overlap_wh=(round(OVERLAP * self.size),) * 2,
            overlap_filter=sv.OverlapFilter.NONE,
            thread_workers=getattr(self.detector, "workers", 1),
        )
        found = [part for part in (whole, slicer(image)) if len(part)]
        if not found:
            return whole
        merged = sv.Detections.merge(found).with_nms(
            SAME_FACE, class_agnostic=True, overlap_metric=sv.OverlapMetric.IOS
        )
        return cast(
            "sv.Detections", merged[np.argsort(-np.asarray(merged.confidence), kind="stable")]
        )
