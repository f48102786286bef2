"""The faces of a photo with their classes, and the faces beside them that its face detector does not count.

Small, blurred and half hidden faces, such as those of passers-by, are in many photos of one person. A face that is in a training
picture and has no label teaches a detector that it is none. So our own detector of masks looks at photos that have room for further
faces: those that both see get its class, doubtful ones are painted over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area, box_coverage
from maskyolo.faces import Faces, join_faces, leaves_room
from maskyolo.images import ImageArray
from maskyolo.labels import IGNORE
from maskyolo.subject import Decision, decide_classes, prominence

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["decide_faces", "find_bystanders", "has_room"]

#: The class of the detector of masks is believed from this score on, if the face detector sees the face too: among 338 street photos
#: with boxes that people drew 98 % of what both see are faces; from 0.35 to 0.6 the class of 190 in 197 is right. What the detector of
#: masks sees alone below 0.6 is a face once in five times.
_SURE = 0.35
#: It may be a face from this score of the detector of masks alone on, or from this of the face detector alone.
_DOUBTFUL, _DOUBTFUL_FACE = 0.35, 0.5
#: Nobody can tell the class of a smaller face, in pixels.
_SMALLEST = 8.0
#: Boxes are of one face if this much of the smaller one is shared.
_SAME = 0.3
#: One that is less prominent than this share of the most prominent face is not the photo's subject.
_MAY_BE_SUBJECT = 0.5


def decide_faces(
    image: ImageArray,
    faces: Faces,
    class_id: int,
    others: str = "detector",
    detector: Callable[[ImageArray], sv.Detections] | None = None,
) -> tuple[Faces, Decision]:
    """Decide the class of each face of a photo out of the folder of `class_id`, and add those beside them.

    Args:
        image: BGR uint8 (H, W, 3).
        faces: its faces.
        class_id: what the folder stands for.
        others: one of `subject.OTHERS`. Faces are added with a class for `detector` only; what is doubtful is painted over for all.
        detector: detector of masks, asked for `detector` only; its `conf` must be low (0.1).

    Returns:
        The faces, those beside them last, and the decision about all of them.
    """
    height, width = image.shape[:2]
    found = (
        detector(image)
        if detector and others == "detector" and has_room(faces, width, height)
        else None
    )
    name = getattr(detector, "name", "detector")
    beside, class_ids = find_bystanders(faces, found, name)
    rank = prominence(beside.boxes, width, height)
    rivals = (class_ids != IGNORE) & (
        rank >= _MAY_BE_SUBJECT * prominence(faces.boxes, width, height).max(initial=0)
    )
    known = join_faces(faces, beside[rivals])
    decision = decide_classes(known.boxes, class_id, width, height, others, found, name)
    if decision.ambiguous or not len(faces):
        return known, decision
    beside, class_ids = beside[~rivals], class_ids[~rivals]
    doubtful = class_ids == IGNORE
    told = [
        (int((~doubtful).sum()), f"of {name}'s class"),
        (int(doubtful.sum()), "doubtful and painted over"),
    ]
    reasons = [decision.reason] if decision.reason else []
    if len(beside):
        reasons.append(
            "beside: " + ", ".join(f"{number} {what}" for number, what in told if number)
        )
    return join_faces(known, beside), replace(
        decision,
        class_ids=np.concatenate([decision.class_ids, class_ids]),
        deciders=decision.deciders + tuple("nobody" if one else name for one in doubtful),
        reason="; ".join(reasons),
    )


def has_room(faces: Faces, width: int, height: int) -> bool:
    """Tell whether a photo may show further faces: there are several, more are suspected, or the largest is small."""
    if not len(faces):
        return False
    return (
        leaves_room(faces.boxes, width, height)
        or len(faces) > 1
        or (faces.doubtful is not None and len(faces.doubtful) > 0)
    )


def find_bystanders(
    faces: Faces, found: sv.Detections | None, name: str = "detector"
) -> tuple[Faces, npt.NDArray[np.int64]]:
    """Find what is beside the known faces of a photo.

    Args:
        faces: what the face detector counts, and, in `doubtful`, what else it sees.
        found: what the detector of masks sees, from low confidences on; None if it was not asked.
        name: that detector's name.

    Returns:
        The faces beside, best first, those of the detector of masks before those of the face detector; `agreed` if both see them. And
        the class of each, int64 (n,): `labels.IGNORE` for a doubtful one, which is to be painted over.
    """
    doubtful = faces.doubtful or Faces.none()
    doubtful = replace(doubtful, origins=doubtful.origins or ("",) * len(doubtful))
    seen = doubtful[doubtful.scores >= _DOUBTFUL_FACE]
    boxes: list[Boxes] = []
    rows: list[tuple[float, str, bool, int]] = []
    if found is not None and found.confidence is not None and found.class_id is not None:
        for place in np.argsort(-found.confidence, kind="stable"):
            box, score = as_boxes(found.xyxy[place]), float(found.confidence[place])
            agreed = _lies_on(box, seen.boxes)
            if (agreed or score >= _DOUBTFUL) and not _lies_on(
                box, np.concatenate([faces.boxes, *boxes])
            ):
                sure = agreed and score >= _SURE and np.sqrt(box_area(box)[0]) >= _SMALLEST
                rows.append((score, name, agreed, int(found.class_id[place]) if sure else IGNORE))
                boxes.append(box)
    for box, face, origin in zip(seen.boxes[:, None], seen.scores, seen.origins, strict=True):
        if not _lies_on(box, np.concatenate([faces.boxes, *boxes])):
            rows.append((float(face), origin, False, IGNORE))
            boxes.append(box)
    places = as_boxes(np.concatenate([as_boxes([]), *boxes]))
    scores = np.array([row[0] for row in rows], dtype=np.float32)
    both = np.array([row[2] for row in rows], dtype=bool)
    return Faces(places, scores, tuple(row[1] for row in rows), both), np.array(
        [row[3] for row in rows], dtype=np.int64
    )


def _lies_on(box: Boxes, known: Boxes) -> bool:
    return bool(box_coverage(box, known).max(initial=0) > _SAME)
