"""Find the bystanders that a photo's face detector misses, and decide the class of every face.

Many photos of one person also show small, blurred and half-hidden faces, such as those of
passers-by. An unlabeled face in a training image teaches a detector that it is not a face. So our
own mask detector also examines photos that may show more faces: faces that both detectors see get
its class, and doubtful ones are blanked out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskyolo.conversion.face_classes import Decision, decide_classes, prominence
from maskyolo.core.boxes import Boxes, as_boxes, box_area, box_coverage
from maskyolo.core.choices import Bystanders
from maskyolo.core.images import ImageArray
from maskyolo.core.labels import IGNORE
from maskyolo.detectors.faces.base import Faces, join_faces, leaves_room

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["decide_faces", "find_bystanders", "has_room"]

#: Minimum confidence for the mask detector's class to count if the face detector sees the face too.
#: In 338 manually labeled street photos, 98 % of what both see are faces; at a confidence of 0.35
#: to 0.6, the class is right for 190 of 197. Of what only the mask detector sees below 0.6, just
#: one in five is a face.
_CONFIDENT = 0.35
#: Minimum scores at which a detection by only one of the two may be a face: for the mask detector,
#: and for the face detector.
_DOUBTFUL, _DOUBTFUL_FACE = 0.35, 0.5
#: Side in pixels of the smallest face whose class can be recognized.
_MIN_SIDE = 8.0
#: Two boxes show the same face if they share more than this fraction of the smaller one.
_SAME_COVERAGE = 0.3
#: A face less prominent than this fraction of the most prominent one is not the subject.
_MAY_BE_SUBJECT = 0.5


def decide_faces(
    image: ImageArray,
    faces: Faces,
    class_id: int,
    bystanders: Bystanders = Bystanders.DETECTOR,
    detector: Callable[[ImageArray], sv.Detections] | None = None,
) -> tuple[Faces, Decision]:
    """Decide the class of each face in a photo of the folder of `class_id`, and add bystanders.

    Args:
        image: BGR uint8 (H, W, 3).
        faces: the faces that the face detector found.
        class_id: the class that the folder stands for.
        bystanders: how bystanders get their class. Only `DETECTOR` adds faces with a class;
            doubtful ones are always blanked out.
        detector: a mask detector, used for `DETECTOR` only; its `conf` must be low (0.1).

    Returns:
        The faces, with added ones last, and the decision about all of them.
    """
    height, width = image.shape[:2]
    asked = bystanders is Bystanders.DETECTOR and has_room(faces, width, height)
    found = detector(image) if detector and asked else None
    name = getattr(detector, "name", "detector")
    beside, class_ids = find_bystanders(faces, found, name)
    rank = prominence(beside.boxes, width, height)
    rivals = (class_ids != IGNORE) & (
        rank >= _MAY_BE_SUBJECT * prominence(faces.boxes, width, height).max(initial=0)
    )
    known = join_faces(faces, beside[rivals])
    decision = decide_classes(known.boxes, class_id, width, height, bystanders, found, name)
    if decision.ambiguous or not len(faces):
        return known, decision
    beside, class_ids = beside[~rivals], class_ids[~rivals]
    doubtful = class_ids == IGNORE
    parts = [
        (int((~doubtful).sum()), f"labeled by {name}"),
        (int(doubtful.sum()), "doubtful and blanked out"),
    ]
    reasons = [decision.reason] if decision.reason else []
    if len(beside):
        report = ", ".join(f"{number} {what}" for number, what in parts if number)
        reasons.append(f"bystanders: {report}")
    return join_faces(known, beside), replace(
        decision,
        class_ids=np.concatenate([decision.class_ids, class_ids]),
        deciders=decision.deciders + tuple("nobody" if one else name for one in doubtful),
        reason="; ".join(reasons),
    )


def has_room(faces: Faces, width: int, height: int) -> bool:
    """Return whether a photo may show more faces than those found.

    True if it shows several, if more are suspected, or if the largest one is small.
    """
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
    """Find faces in a photo in addition to the known ones.

    Args:
        faces: the known faces; `doubtful` holds the face detector's other detections.
        found: the mask detector's detections, including those with low confidence; None if it did
            not run.
        name: that detector's name.

    Returns:
        The additional faces: first those of the mask detector, then those of the face detector,
        each best first, and `agreed` if both see them. Also the class of each, int64 (n,):
        `IGNORE` for doubtful ones, which must be blanked out.
    """
    doubtful = faces.doubtful or Faces.none()
    doubtful = replace(doubtful, origins=doubtful.origins or ("",) * len(doubtful))
    seen = doubtful[doubtful.scores >= _DOUBTFUL_FACE]
    boxes: list[Boxes] = []
    rows: list[tuple[float, str, bool, int]] = []  # score, origin, agreed, class id
    if found is not None and found.confidence is not None and found.class_id is not None:
        for place in np.argsort(-found.confidence, kind="stable"):
            box, score = as_boxes(found.xyxy[place]), float(found.confidence[place])
            agreed = _lies_on(box, seen.boxes)
            if (agreed or score >= _DOUBTFUL) and not _lies_on(
                box, np.concatenate([faces.boxes, *boxes])
            ):
                large = np.sqrt(box_area(box)[0]) >= _MIN_SIDE
                confident = agreed and score >= _CONFIDENT and large
                class_id = int(found.class_id[place]) if confident else IGNORE
                rows.append((score, name, agreed, class_id))
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
    return bool(box_coverage(box, known).max(initial=0) > _SAME_COVERAGE)
