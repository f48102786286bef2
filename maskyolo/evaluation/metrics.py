"""Metrics of detections against labeled boxes: matching, precision, recall.

The definitions are COCO's (T.-Y. Lin et al. 2014, arXiv:1405.0312; pycocotools computes the same
values), with one addition: a detection that matches an ignored box and no labeled one counts
neither as right nor as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import box_iou_double

__all__ = [
    "RECALLS",
    "Case",
    "Matches",
    "Rates",
    "average_precision",
    "best_f1",
    "confusion",
    "greedy",
    "match",
    "precision_recall",
    "rates",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Minimum IoU with an ignored box for a detection not to count.
IGNORE_IOU = 0.5

#: Longer side in pixels that images are scaled to before the size of a face is measured: the
#: network's default input size.
LETTERBOX = 640

#: Recall levels at which COCO samples the precision.
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Case:
    """One image: its labels and its detections.

    Attributes:
        boxes: labeled boxes xyxy in pixels (n, 4).
        class_ids: their classes (n,).
        ignored: boxes (k, 4); a detection on one of them does not count.
        found: detected boxes xyxy in pixels (m, 4), in descending order of confidence.
        found_ids: their classes (m,).
        confidence: their confidence (m,).
        size: width and height of the image in pixels.
    """

    boxes: Floats
    class_ids: Ints
    ignored: Floats
    found: Floats
    found_ids: Ints
    confidence: Floats
    size: tuple[int, int]

    @cached_property
    def overlaps(self) -> Floats:
        """Intersection over union of detections and labeled boxes (m, n)."""
        return box_iou_double(self.found, self.boxes)

    @cached_property
    def excuses(self) -> Floats:
        """Intersection over union of detections and ignored boxes (m, k)."""
        return box_iou_double(self.found, self.ignored)

    @cached_property
    def sides(self) -> Floats:
        """Sides of the labeled boxes (n,): square roots of their areas in pixels.

        They are measured after scaling the longer side of the image to 640.
        """
        return _sides(self.boxes, self.size)

    @cached_property
    def found_sides(self) -> Floats:
        """Sides of the detections (m,), measured in the same way."""
        return _sides(self.found, self.size)


@dataclass(frozen=True)
class Matches:
    """The counted detections of all images, and whether each is right.

    Attributes:
        confidence: confidence of each detection (n,), descending.
        correct: whether it is right, bool (n,).
        image: index of its image (n,).
        positives: number of labeled boxes of each image (images,).
    """

    confidence: Floats
    correct: npt.NDArray[np.bool_]
    image: Ints
    positives: Ints


class Rates(NamedTuple):
    """Precision, recall and F1 at a confidence; 0 if nothing was found or nothing is labeled."""

    precision: float
    recall: float
    f1: float


def greedy(overlaps: Floats, iou: float) -> Ints:
    """Match each detection, in order, with the unmatched labeled box that it overlaps most.

    Args:
        overlaps: IoU of detections and labeled boxes (m, n).
        iou: minimum IoU of a match.

    Returns:
        The index of each detection's box (m,), -1 for none.
    """
    taken = np.full(len(overlaps), -1, dtype=np.int64)
    if overlaps.size:
        free = overlaps.copy()
        for row in np.flatnonzero(overlaps.max(axis=1) >= iou):
            best = int(free[row].argmax())
            if free[row, best] >= iou:
                taken[row] = best
                free[:, best] = -1
    return taken


def match(
    cases: Sequence[Case],
    class_id: int | None = None,
    iou: float = 0.5,
    sides: tuple[float, float] = (0, float("inf")),
) -> Matches:
    """Match the detections of one class with its labeled boxes, image by image.

    Args:
        cases: the images.
        class_id: the class, or None for faces of any class.
        iou: minimum IoU of a match.
        sides: half-open range of `Case.sides` to count. Labeled boxes of other sizes are ignored,
            and so are detections of other sizes that match nothing.
    """
    low, high = sides
    confidence, correct, image, positives = [], [], [], []
    for number, case in enumerate(cases):
        of_class = (
            np.full(len(case.class_ids), True) if class_id is None else case.class_ids == class_id
        )
        counted = of_class & (low <= case.sides) & (case.sides < high)
        positives.append(counted.sum())
        rows = (
            np.arange(len(case.found))
            if class_id is None
            else np.flatnonzero(case.found_ids == class_id)
        )
        right = greedy(case.overlaps[np.ix_(rows, counted)], iou) >= 0
        ignored = np.concatenate(
            [case.excuses[rows], case.overlaps[np.ix_(rows, of_class & ~counted)]], axis=1
        )
        excused = (
            (ignored >= min(iou, IGNORE_IOU)).any(axis=1)
            | (case.found_sides[rows] < low)
            | (case.found_sides[rows] >= high)
        )
        counts = right | ~excused
        confidence.append(case.confidence[rows][counts])
        correct.append(right[counts])
        image.append(np.full(counts.sum(), number))
    order = np.argsort(-np.concatenate([np.zeros(0), *confidence]), kind="stable")
    return Matches(
        np.concatenate([np.zeros(0), *confidence])[order],
        np.concatenate([np.zeros(0, dtype=bool), *correct])[order],
        np.concatenate([np.zeros(0, dtype=np.int64), *image])[order],
        np.asarray(positives, dtype=np.int64),
    )


def average_precision(matches: Matches, weights: npt.ArrayLike | None = None) -> float | None:
    """Return the average precision over 101 recall levels, or None if nothing is labeled.

    Args:
        matches: the detections of one class, matched at one IoU.
        weights: how often each image counts (images,). Default: once.
    """
    if not _positives(matches, weights):
        return None
    precision, recall = precision_recall(matches, weights)
    return float(np.append(precision, 0.0)[np.searchsorted(recall, RECALLS)].mean())


def precision_recall(
    matches: Matches, weights: npt.ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Return the interpolated precision and the recall, both (n,), at each right detection."""
    positives = _positives(matches, weights)
    hits = np.flatnonzero(matches.correct)
    if not positives or not len(hits):
        return np.zeros(0), np.zeros(0)
    counts = _weights(matches, weights)[matches.image[: hits[-1] + 1]]
    right = np.cumsum(counts * matches.correct[: hits[-1] + 1])[hits]
    precision = right / np.maximum(np.cumsum(counts)[hits], 1e-9)
    return np.maximum.accumulate(precision[::-1])[::-1], right / positives


def rates(matches: Matches, conf: float, weights: npt.ArrayLike | None = None) -> Rates:
    """Return precision, recall and F1 of the detections with a confidence of `conf` or more."""
    number = int(np.searchsorted(-matches.confidence, -conf, side="right"))
    counts = _weights(matches, weights)[matches.image[:number]]
    right = float((counts * matches.correct[:number]).sum())
    precision = right / max(float(counts.sum()), 1)
    recall = right / max(_positives(matches, weights), 1)
    return Rates(precision, recall, 2 * precision * recall / max(precision + recall, 1e-9))


def best_f1(matches: Matches) -> tuple[float, float]:
    """Return the best F1 over all confidences and its confidence; (0, 1) if nothing was found."""
    if not len(matches.confidence):
        return 0.0, 1.0
    f1 = (
        2
        * np.cumsum(matches.correct)
        / (np.arange(1, len(matches.correct) + 1) + _positives(matches, None))
    )
    place = int(f1.argmax())
    return float(f1[place]), float(matches.confidence[place])


def confusion(case: Case, conf: float, classes: int, iou: float = 0.5) -> tuple[Ints, Ints]:
    """Match the detections of one image with its labeled boxes, regardless of class.

    Args:
        case: the image.
        conf: minimum confidence of the detections that count.
        classes: number of classes.
        iou: minimum IoU of a match.

    Returns:
        Counts (classes + 1, classes + 1), with a row per labeled class and one for "nothing there",
        and a column per detected class and one for "not found"; and the detected class of each
        labeled box (n,), -1 if it was not found.
    """
    confident = case.confidence >= conf
    taken = greedy(case.overlaps[confident], iou)
    found_ids = case.found_ids[confident]
    found_as = np.full(len(case.class_ids), -1, dtype=np.int64)
    found_as[taken[taken >= 0]] = found_ids[taken >= 0]
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    np.add.at(counts, (case.class_ids, np.where(found_as < 0, classes, found_as)), 1)
    false = (taken < 0) & ~(case.excuses[confident] >= IGNORE_IOU).any(axis=1)
    np.add.at(counts[classes], found_ids[false], 1)
    return counts, found_as


def _weights(matches: Matches, weights: npt.ArrayLike | None) -> Floats:
    return (
        np.ones(len(matches.positives))
        if weights is None
        else np.asarray(weights, dtype=np.float64)
    )


def _positives(matches: Matches, weights: npt.ArrayLike | None) -> float:
    return float((_weights(matches, weights) * matches.positives).sum())


def _sides(boxes: Floats, size: tuple[int, int]) -> Floats:
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    sides: Floats = np.sqrt(areas.clip(min=0)) * LETTERBOX / max(size)
    return sides
