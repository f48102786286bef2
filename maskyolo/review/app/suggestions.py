"""Converts suspicions of `review.csv` to FiftyOne's fields: ranks, reasons, suggested boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskyolo.core.boxes import box_iou
from maskyolo.review.app.fields import to_relative
from maskyolo.review.corrections import Face, same_box
from maskyolo.review.review_set import ReviewPhoto
from maskyolo.review.suspicions import Reason, Suspicion

__all__ = ["SUSPICION_FIELDS", "is_settled", "suspicion_values"]

#: Fields of a sample that come from `review.csv`, with their values for a photo without suspicions.
SUSPICION_FIELDS: dict[str, Any] = {
    "rank": None,
    "suspicion": None,
    "reasons": [],
    "suggestions": None,
}


def suspicion_values(
    fo: Any, photo: ReviewPhoto, names: Sequence[str], rows: Sequence[Suspicion]
) -> dict[str, Any]:
    """Return the values of `SUSPICION_FIELDS` for a photo.

    Args:
        fo: the module `fiftyone`.
        photo: the photo.
        names: the set's classes by id.
        rows: the photo's suspicions, at least one.
    """
    reasons = {row.reason for row in rows}
    return {
        "rank": min(row.rank for row in rows),
        "suspicion": max(row.score for row in rows),
        "reasons": [reason.value for reason in Reason if reason in reasons],
        "suggestions": _suggestions(fo, photo, photo.faces(names), rows),
    }


def is_settled(found: Suspicion, faces: Sequence[Face]) -> bool:
    """Return whether a change of the labels has resolved a suspicion."""
    line = _line_of(found, faces)
    if found.label is not None and line is None:
        return True
    if found.reason is Reason.WRONG_CLASS and line is not None:
        return found.suggested_class == faces[line].class_name
    if found.reason is Reason.MISSING and found.suggested_box and faces:
        return bool(box_iou([face.box for face in faces], [found.suggested_box]).max() > 0.5)
    return False


def _suggestions(
    fo: Any, photo: ReviewPhoto, faces: Sequence[Face], rows: Sequence[Suspicion]
) -> Any:
    """Return the boxes that suspicions suggest or concern; None if there are none."""
    found = []
    for row in rows:
        box = row.suggested_box or row.box
        if not box:
            continue
        line = _line_of(row, faces)
        reason = str(row.reason or "")
        label = row.suggested_class or (reason if line is None else faces[line].class_name)
        known = {} if line is None else {"line": line}
        found.append(
            fo.Detection(
                label=label,
                bounding_box=to_relative(box, photo),
                confidence=row.score,
                reason=reason,
                **known,
            )
        )
    return fo.Detections(detections=found) if found else None


def _line_of(found: Suspicion, faces: Sequence[Face]) -> int | None:
    """Return the line of the label file that a suspicion is about, or None."""
    if found.label is None:
        return None
    if not found.box:
        return found.label if found.label < len(faces) else None
    lines = [place for place, face in enumerate(faces) if same_box(face.box, found.box)]
    if found.label in lines:
        return found.label
    return lines[0] if lines else None
