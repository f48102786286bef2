"""Steps between the detector and the sinks that drop detections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from maskyolo.runtime.frames import Frame

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["drop_below", "drop_weak_faces", "keep_most_confident"]

#: Processes a frame and its detections before they are written.
Step = Callable[[Frame, "sv.Detections"], tuple[Frame, "sv.Detections"]]


def drop_below(conf: float) -> Step:
    """Return a step that drops detections below `conf`, which only earlier steps need."""

    def drop(frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        found: Any = detections
        return frame, found[found.confidence > conf]

    return drop


def drop_weak_faces(face_conf: float) -> Step:
    """Return a step that drops faces below the score `face_conf`, which only earlier steps need."""

    def drop(frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        found: Any = detections
        if "face_score" in found.data:
            found = found[found.data["face_score"] >= face_conf]
            del found.data["face_score"]
        return frame, found

    return drop


def keep_most_confident(max_det: int) -> Step:
    """Return a step that drops all but the most confident detections."""

    def drop(frame: Frame, detections: sv.Detections) -> tuple[Frame, sv.Detections]:
        found: Any = detections
        return frame, found[np.sort(np.argsort(-found.confidence, kind="stable")[:max_det])]

    return drop
