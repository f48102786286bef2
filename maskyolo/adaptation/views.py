"""Looks at an image in several sizes, mirrored and not, and with a second face detector.

A detector that is unsure of a face in one size is often confident in another. What all views say
together is a better label than any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.adaptation.options import AdaptOptions
from maskyolo.core.boxes import as_boxes, box_iou, clip_boxes
from maskyolo.core.classes import WITH_MASK_ID
from maskyolo.core.detector import Detector
from maskyolo.core.images import ImageArray
from maskyolo.detectors.faces.base import Faces
from maskyolo.detectors.faces.yunet import YuNet
from maskyolo.detectors.loading import load_detector
from maskyolo.detectors.options import ModelOptions
from maskyolo.detectors.yolo import IMGSZ

__all__ = ["Sighting", "Teacher", "View", "merge_views"]

#: Sizes of the views, as fractions of the detector's own inference size.
SIZES = (0.65, 1.0, 1.5)
#: Minimum confidence of a detection in a view, and minimum score of a face of YuNet.
LOW_CONF, _LOW_SCORE = 0.03, 0.2
#: Minimum overlap (IoU) of the boxes of one face in two views, and in a view and YuNet.
_SAME_IOU, _YUNET_IOU = 0.5, 0.3
#: A face is certain if it reaches the first confidence in a view, and the second in this many
#: views; or if YuNet finds it with this score, and that many views with at least that confidence.
_HIGH, _MEDIUM, _VIEWS = 0.5, 0.25, 3
_YUNET_SCORE, _YUNET_CONF = 0.6, 0.2

#: The detections of one view: xyxy pixels of the image, confidence and class id, float32 (n, 6).
View = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sighting:
    """A face in one image, as all views together see it.

    Attributes:
        box: mean of the views' boxes, weighted by their confidence, xyxy pixels float32 (4,).
        evidence: mean over all views of the confidence that the face has a mask, minus that it has
            none, from -1 to 1; a view without the face counts as 0.
        agreement: fraction of the confidence that is in the more probable class, from 0.5 to 1.
        confidence: highest confidence in a view, or YuNet's score if no view has the face.
        certain: whether enough views, or YuNet, confirm that there is a face.
    """

    box: npt.NDArray[np.float32]
    evidence: float
    agreement: float
    confidence: float
    certain: bool


class Teacher:
    """Finds the faces of an image for `adapt`.

    Args:
        options: the model and its runtime.

    Raises:
        WeightsError: the model or YuNet cannot be loaded.
    """

    def __init__(self, options: AdaptOptions) -> None:
        def load(imgsz: int | None) -> Detector:
            given = {one.name: getattr(options, one.name) for one in fields(ModelOptions)}
            return load_detector(conf=LOW_CONF, imgsz=imgsz, **given)

        own = load(None)
        imgsz = int(getattr(own, "imgsz", IMGSZ))
        self._detectors = [own if size == 1 else load(round(size * imgsz)) for size in SIZES]
        self._yunet = YuNet(conf=_LOW_SCORE)

    def __call__(self, image: ImageArray) -> list[Sighting]:
        """Return the faces of a BGR uint8 image (H, W, 3), and what may be some."""
        width = image.shape[1]
        mirrored = np.ascontiguousarray(image[:, ::-1])
        views = []
        for detector in self._detectors:
            views.append(_view(detector, image))
            turned = _view(detector, mirrored)
            turned[:, [0, 2]] = width - turned[:, [2, 0]]
            views.append(turned)
        return merge_views(views, self._yunet.detect(image), (width, image.shape[0]))


def _view(detector: Detector, image: ImageArray) -> View:
    found: Any = detector(image)
    return np.column_stack([found.xyxy, found.confidence, found.class_id]).astype(np.float32)


def merge_views(views: Sequence[View], faces: Faces, size: tuple[int, int]) -> list[Sighting]:
    """Merge the detections of all views of an image to faces.

    Args:
        views: the detections of each view.
        faces: the faces that YuNet finds.
        size: width and height of the image.

    Returns:
        The faces, most confident first, then YuNet's faces that no view has.

    Examples:
        >>> one = np.array([[10, 10, 30, 30, 0.8, 0]], np.float32)
        >>> face, = merge_views([one, one, one], Faces.none(), (100, 100))
        >>> face.certain, round(face.evidence, 2), face.agreement
        (True, 0.8, 1.0)
    """
    rows = [(*row.tolist(), number) for number, view in enumerate(views) for row in view]
    rows.sort(key=lambda row: -row[4])
    groups: list[dict[int, tuple[float, ...]]] = []
    boxes = np.zeros((0, 4), np.float32)
    for row in rows:
        overlap = box_iou([row[:4]], boxes)[0]
        place = int(overlap.argmax()) if len(overlap) else -1
        if place < 0 or overlap[place] < _YUNET_IOU:
            groups.append({int(row[6]): row})
            boxes = np.concatenate([boxes, as_boxes([row[:4]])])
        elif overlap[place] >= _SAME_IOU and int(row[6]) not in groups[place]:
            groups[place][int(row[6])] = row
            boxes[place] = _mean_box(groups[place])
    overlaps = box_iou(boxes, faces.boxes)
    found = [
        _sighting(
            group,
            box,
            len(views),
            float(np.where(near >= _YUNET_IOU, faces.scores, 0).max(initial=0)),
        )
        for group, box, near in zip(groups, clip_boxes(boxes, *size), overlaps, strict=True)
    ]
    for face in np.flatnonzero(overlaps.max(axis=0, initial=0) < _YUNET_IOU):
        score = float(faces.scores[face])
        found.append(Sighting(faces.boxes[face], 0.0, 0.5, score, certain=False))
    return found


def _mean_box(group: dict[int, tuple[float, ...]]) -> npt.NDArray[np.float32]:
    rows = np.array(list(group.values()), dtype=np.float32)
    return np.asarray(np.average(rows[:, :4], axis=0, weights=rows[:, 4]), dtype=np.float32)


def _sighting(
    group: dict[int, tuple[float, ...]], box: npt.NDArray[np.float32], views: int, score: float
) -> Sighting:
    rows = np.array(list(group.values()), dtype=np.float32)
    confidence, masked = rows[:, 4], rows[:, 5] == WITH_MASK_ID
    with_mask, without = float(confidence[masked].sum()), float(confidence[~masked].sum())
    highest = float(confidence.max())
    by_views = highest >= _HIGH and int((confidence >= _MEDIUM).sum()) >= _VIEWS
    by_yunet = score >= _YUNET_SCORE and highest >= _YUNET_CONF and len(rows) >= _VIEWS
    return Sighting(
        box,
        evidence=(with_mask - without) / views,
        agreement=max(with_mask, without) / (with_mask + without),
        confidence=highest,
        certain=by_views or by_yunet,
    )
