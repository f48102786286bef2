"""Decide the class of each face in a photo that shows several: which one has the folder's class?

A folder's name describes the photo's subject. In the folder `with_mask` of a typical
data set, 73 photos show several faces, 229 in all. Of these, 32 wear no mask or are not faces, and
most of the 32 are as large as the subject. So size does not reveal bystanders, but a mask detector
does: at confidences of 0.6 and above, it was wrong once in 135 cases. See docs/labels.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_area, box_iou
from maskyolo.core.choices import Bystanders
from maskyolo.core.images import ImageArray
from maskyolo.core.labels import IGNORE

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["Decision", "blank_out", "decide_classes", "prominence"]

#: Minimum confidence for the detector to decide, provided that its confidence in the other class is
#: less than half of its confidence in this one.
_CONFIDENT = 0.6
#: A face can only be the subject if the detector's confidence in the folder's class is at least
#: this.
_SUSPECTED = 0.2
#: Minimum overlap (IoU) of a detection with the face it belongs to.
_SAME_IOU = 0.45


@dataclass(frozen=True)
class Decision:
    """The classes of a photo's faces.

    Attributes:
        class_ids: int64 (n,); `labels.IGNORE` for a face that must be blanked out.
        deciders: who decided each class: `folder`, the detector's name, or `nobody`.
        reason: what was done, in words.
        ambiguous: whether the photo must not be used.
    """

    class_ids: npt.NDArray[np.int64]
    deciders: tuple[str, ...]
    reason: str = ""
    ambiguous: bool = False


def prominence(boxes: npt.ArrayLike, width: int, height: int) -> npt.NDArray[np.float64]:
    """Return the prominence of each of xyxy boxes (n, 4) in an image, float64 (n,).

    It is the box's side in pixels, reduced by up to half with distance from the image's center.
    """
    x1, y1, x2, y2 = as_boxes(boxes).astype(np.float64).T
    away = np.hypot((x1 + x2) / width - 1, (y1 + y2) / height - 1) / np.sqrt(2)
    result: npt.NDArray[np.float64] = np.sqrt(box_area(boxes)) * (1 - away / 2)
    return result


def decide_classes(
    boxes: Boxes,
    class_id: int,
    width: int,
    height: int,
    bystanders: Bystanders = Bystanders.DETECTOR,
    found: sv.Detections | None = None,
    name: str = "detector",
) -> Decision:
    """Decide the class of each face in a photo of the folder of `class_id`.

    The only face in a photo is its subject and has the folder's class.

    Args:
        boxes: the faces, xyxy pixels (n, 4).
        class_id: the class that the folder stands for.
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        bystanders: how the other faces get their class. `DETECTOR`: the subject is the most
            prominent face for which the detector, too, suspects the folder's class (any face that
            it sees, for `incorrect_mask`); every other
            face gets the detector's class if the detector is confident, and is blanked out
            otherwise. `BLANK`: all but the most prominent face are blanked out. `SET_ASIDE`: the
            photo is ambiguous. `FOLDER`: all faces get the folder's class.
        found: the mask detector's detections in the photo with a confidence of at least 0.1; used
            for `DETECTOR` only, which without them is the same as `BLANK`.
        name: that detector's name.
    """
    count = len(boxes)
    if count < 2 or bystanders is Bystanders.FOLDER:
        reason = f"{count} faces, all given the folder's class" if count > 1 else ""
        return _by_folder(count, class_id, reason)
    if bystanders is Bystanders.SET_ASIDE:
        reason = f"{count} faces; unclear which of them the folder's class describes"
        return _by_folder(count, class_id, reason, ambiguous=True)
    rank = prominence(boxes, width, height)
    if bystanders is Bystanders.BLANK or found is None:
        subject = int(rank.argmax())
        class_ids = np.where(np.arange(count) == subject, class_id, IGNORE)
        deciders = tuple("folder" if place == subject else "nobody" for place in range(count))
        return Decision(class_ids, deciders, f"{count} faces, all but the subject blanked out")
    return _by_detector(rank, class_id, _beliefs(boxes, found), name)


def blank_out(image: ImageArray, boxes: npt.ArrayLike, spare: npt.ArrayLike) -> ImageArray:
    """Return the image with `boxes` blanked out, except where they overlap the boxes `spare`.

    An unlabeled face in a training image teaches a detector that it is not a face, so it must not
    stay in the image. Blanking out means downscaling to 2 x 2 pixels and back, which leaves neither
    a face nor an edge that would reveal that there was one.

    Args:
        image: BGR uint8 (H, W, 3); not modified.
        boxes: xyxy pixels (n, 4), blanked out with a margin of a quarter on each side.
        spare: xyxy pixels (m, 4), left unchanged.
    """
    height, width = image.shape[:2]
    blanked: ImageArray = image.copy()
    for x1, y1, x2, y2 in as_boxes(boxes):
        across, down = (x2 - x1) / 4, (y2 - y1) / 4
        rows = slice(max(0, int(y1 - down)), min(height, int(y2 + down) + 1))
        columns = slice(max(0, int(x1 - across)), min(width, int(x2 + across) + 1))
        region = blanked[rows, columns]
        if region.size:
            few = cv2.resize(region, (2, 2), interpolation=cv2.INTER_AREA)
            blanked[rows, columns] = cv2.resize(
                few, region.shape[1::-1], interpolation=cv2.INTER_LINEAR
            )
    for x1, y1, x2, y2 in as_boxes(spare):
        place = slice(max(0, int(y1)), int(y2) + 1), slice(max(0, int(x1)), int(x2) + 1)
        blanked[place] = image[place]
    return blanked


def _by_folder(count: int, class_id: int, reason: str, ambiguous: bool = False) -> Decision:
    class_ids = np.full(count, class_id, dtype=np.int64)
    return Decision(class_ids, ("folder",) * count, reason, ambiguous)


def _by_detector(
    rank: npt.NDArray[np.float64], class_id: int, belief: npt.NDArray[np.float64], name: str
) -> Decision:
    """Decide by a detector's confidence in each class, `belief` (n, 2)."""
    count = len(rank)
    if class_id < belief.shape[1]:
        suspected = (belief[:, class_id] >= _SUSPECTED) & (belief.argmax(1) == class_id)
    else:  # the detector cannot recognize masks worn incorrectly, and may call them either
        suspected = belief.max(1) >= _SUSPECTED
    if not suspected.any():
        reason = f"{count} faces, none of which is clearly of the folder's class"
        return _by_folder(count, class_id, reason, ambiguous=True)
    subject = int(np.where(suspected, rank, -1).argmax())
    confident = (belief.max(1) >= _CONFIDENT) & (belief.min(1) < _CONFIDENT / 2)
    class_ids = np.where(confident, belief.argmax(1), IGNORE)
    class_ids[subject] = class_id
    deciders = tuple(
        "folder" if place == subject else name if confident[place] else "nobody"
        for place in range(count)
    )
    parts = [
        (int(confident.sum()) - int(confident[subject]), f"labeled by {name}"),
        (deciders.count("nobody"), "blanked out"),
    ]
    report = ", ".join(f"{number} {what}" for number, what in parts if number)
    return Decision(class_ids, deciders, f"{count} faces: the subject, {report}")


def _beliefs(boxes: Boxes, found: sv.Detections) -> npt.NDArray[np.float64]:
    """Return the highest confidence among each face's detections, by class: float64 (n, 2)."""
    belief = np.zeros((len(boxes), 2))
    if len(found) and found.confidence is not None and found.class_id is not None:
        for place, other in np.argwhere(box_iou(boxes, found.xyxy) > _SAME_IOU):
            class_id = int(found.class_id[other])
            belief[place, class_id] = max(belief[place, class_id], float(found.confidence[other]))
    return belief
