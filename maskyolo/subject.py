"""Whose class is the folder's? Decide the class of each face in a photo that shows several.

A folder's name speaks of the photo's subject. Of 229 faces in 73 photos with several faces in the folder `with_mask` of a usual data
set, 32 wear no mask or are no faces; most of those are as large as the subject. So size tells nothing about the others, but a detector
of masks does: where it was sure (0.6), it was wrong once in 135. See docs/labels.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area, box_iou
from maskyolo.images import ImageArray
from maskyolo.labels import IGNORE

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["OTHERS", "Decision", "decide_classes", "paint_over", "prominence"]

#: What `convert --others` accepts: how the faces beside a photo's subject come to their class.
OTHERS = ("detector", "paint", "set-aside", "folder")

#: The detector is believed from this confidence on, if it holds the other class for less than half as likely.
_SURE = 0.6
#: The subject is one of those faces of which the detector at least suspects the folder's class.
_SUSPECTED = 0.2


@dataclass(frozen=True)
class Decision:
    """The classes of a photo's faces.

    Attributes:
        class_ids: int64 (n,); `labels.IGNORE` for a face that is to be painted over.
        deciders: who decided each: `folder`, the detector's name, or `nobody`.
        reason: what was done, in words.
        ambiguous: the photo must not be used.
    """

    class_ids: npt.NDArray[np.int64]
    deciders: tuple[str, ...]
    reason: str = ""
    ambiguous: bool = False


def prominence(boxes: npt.ArrayLike, width: int, height: int) -> npt.NDArray[np.float64]:
    """Return how prominent each of xyxy boxes (n, 4) is: its side, up to halved by its distance from the picture's centre."""
    x1, y1, x2, y2 = as_boxes(boxes).astype(np.float64).T
    away = np.hypot((x1 + x2) / width - 1, (y1 + y2) / height - 1) / np.sqrt(2)
    result: npt.NDArray[np.float64] = np.sqrt(box_area(boxes)) * (1 - away / 2)
    return result


def decide_classes(
    boxes: Boxes,
    class_id: int,
    width: int,
    height: int,
    others: str = "detector",
    found: sv.Detections | None = None,
    name: str = "detector",
) -> Decision:
    """Decide the class of each face of a photo out of the folder of `class_id`; a lone face is the subject and has the folder's.

    Args:
        boxes: its faces, xyxy pixels (n, 4).
        class_id: what the folder stands for.
        width: of the photo.
        height: of the photo.
        others: one of `OTHERS`. `detector`: the subject is the most prominent face of which the detector, too, suspects the folder's
            class; every other face gets the class that the detector is sure of, or is painted over. `paint`: all but the most
            prominent are painted over. `set-aside`: the photo is ambiguous. `folder`: all get the folder's class.
        found: what the detector of masks sees in the photo, from low confidences on (0.1); used for `detector` only.
        name: that detector's name.
    """
    count = len(boxes)
    of_folder = np.full(count, class_id, dtype=np.int64)
    if count < 2 or others == "folder":
        reason = f"{count} faces, all given the folder's class" if count > 1 else ""
        return Decision(of_folder, ("folder",) * count, reason)
    if others == "set-aside":
        return Decision(
            of_folder,
            ("folder",) * count,
            f"{count} faces; whose class the folder tells is not known",
            ambiguous=True,
        )
    rank = prominence(boxes, width, height)
    if others == "paint" or found is None:
        subject = int(rank.argmax())
        painted = np.where(np.arange(count) == subject, class_id, IGNORE)
        deciders = tuple("folder" if place == subject else "nobody" for place in range(count))
        return Decision(painted, deciders, f"{count} faces, all but the subject painted over")
    belief = _beliefs(boxes, found)
    suspected = (belief[:, class_id] >= _SUSPECTED) & (belief.argmax(1) == class_id)
    if not suspected.any():
        return Decision(
            of_folder,
            ("folder",) * count,
            f"{count} faces, none of which clearly is of the folder's class",
            ambiguous=True,
        )
    subject = int(np.where(suspected, rank, -1).argmax())
    sure = (belief.max(1) >= _SURE) & (belief.min(1) < _SURE / 2)
    class_ids = np.where(sure, belief.argmax(1), IGNORE)
    class_ids[subject] = class_id
    deciders = tuple(
        "folder" if place == subject else name if sure[place] else "nobody"
        for place in range(count)
    )
    parts = [
        (int(sure.sum()) - int(sure[subject]), f"of {name}'s class"),
        (deciders.count("nobody"), "painted over"),
    ]
    told = ", ".join(f"{number} {what}" for number, what in parts if number)
    return Decision(class_ids, deciders, f"{count} faces: the subject, {told}")


def paint_over(image: ImageArray, boxes: npt.ArrayLike, spare: npt.ArrayLike) -> ImageArray:
    """Return the picture with xyxy boxes (n, 4), a quarter larger on each side, smeared, but for what lies in the boxes `spare` (m, 4).

    A face that is in the picture and has no label teaches a detector that it is none; so it must not be in the picture. Smeared means
    scaled to four pixels and back: no face is left, and no edge that would tell a detector that there was one.
    """
    height, width = image.shape[:2]
    painted: ImageArray = image.copy()
    for x1, y1, x2, y2 in as_boxes(boxes):
        across, down = (x2 - x1) / 4, (y2 - y1) / 4
        rows = slice(max(0, int(y1 - down)), min(height, int(y2 + down) + 1))
        columns = slice(max(0, int(x1 - across)), min(width, int(x2 + across) + 1))
        region = painted[rows, columns]
        if region.size:
            few = cv2.resize(region, (2, 2), interpolation=cv2.INTER_AREA)
            painted[rows, columns] = cv2.resize(
                few, region.shape[1::-1], interpolation=cv2.INTER_LINEAR
            )
    for x1, y1, x2, y2 in as_boxes(spare):
        place = slice(max(0, int(y1)), int(y2) + 1), slice(max(0, int(x1)), int(x2) + 1)
        painted[place] = image[place]
    return painted


def _beliefs(boxes: Boxes, found: sv.Detections) -> npt.NDArray[np.float64]:
    """Return for each face (n) the detector's highest confidence in each class (n, 2), of detections that lie on it."""
    belief = np.zeros((len(boxes), 2))
    if len(found) and found.confidence is not None and found.class_id is not None:
        for place, other in np.argwhere(box_iou(boxes, found.xyxy) > 0.45):
            class_id = int(found.class_id[other])
            belief[place, class_id] = max(belief[place, class_id], float(found.confidence[other]))
    return belief
