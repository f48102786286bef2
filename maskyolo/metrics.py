"""Measures of detections against labelled boxes: matching, average precision, precision and recall, resampling. Arrays only.

The definitions are COCO's (T.-Y. Lin et al. 2014, arXiv:1405.0312; pycocotools gives the same figures), with one addition: a
detection that matches no labelled box, but an ignored one, counts neither way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import box_iou_double

__all__ = [
    "Case",
    "Matches",
    "Rates",
    "average_precision",
    "best_f1",
    "boot_weights",
    "confusion",
    "greedy",
    "interval",
    "iou_matrix",
    "match",
    "precision_recall",
    "rates",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Overlap with an ignored box from which a detection is excused.
IGNORE_IOU = 0.5

#: Longer side in pixels at which the size of a face is told: that of the network's usual input.
LETTERBOX = 640

_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Case:
    """One picture: what people labelled and what was found.

    Attributes:
        boxes: labelled boxes xyxy in pixels (n, 4).
        class_ids: their classes (n,).
        ignored: boxes that are neither right nor wrong to find (k, 4).
        found: detected boxes xyxy in pixels (m, 4), most confident first.
        found_ids: their classes (m,).
        confidence: theirs (m,), falling.
        size: width and height of the picture in pixels.
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
        """Intersection over union of detections and labelled boxes (m, n)."""
        return iou_matrix(self.found, self.boxes)

    @cached_property
    def excuses(self) -> Floats:
        """Intersection over union of detections and ignored boxes (m, k)."""
        return iou_matrix(self.found, self.ignored)

    @cached_property
    def sides(self) -> Floats:
        """Roots of the labelled boxes' areas (n,) in pixels after scaling the picture's longer side to 640."""
        return _sides(self.boxes, self.size)

    @cached_property
    def found_sides(self) -> Floats:
        """The same of the detections (m,)."""
        return _sides(self.found, self.size)


@dataclass(frozen=True)
class Matches:
    """The detections of all pictures that count, most confident first, and whether each is right.

    Attributes:
        confidence: (n,), falling.
        correct: bool (n,).
        picture: number of the picture of each (n,).
        positives: labelled boxes of each picture (pictures,).
    """

    confidence: Floats
    correct: npt.NDArray[np.bool_]
    picture: Ints
    positives: Ints


class Rates(NamedTuple):
    """Precision, recall and F1 from a confidence on; 0 where nothing was found or there was nothing to find."""

    precision: float
    recall: float
    f1: float


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """Return the intersection over union (n, m) of xyxy boxes a (n, 4) and b (m, 4), in the double precision that COCO computes in."""
    return box_iou_double(a, b)


def greedy(overlaps: Floats, iou: float) -> Ints:
    """Give each detection, in order, the labelled box still free that it overlaps most, from `iou` on; (m, n) to (m,), -1 for none."""
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
    """Match the detections of one class with its labelled boxes, picture by picture, the most confident first.

    Args:
        cases: the pictures.
        class_id: the class, or None for faces of any class.
        iou: least overlap of a match.
        sides: count only faces whose `Case.sides` are in this range (the end left out); labelled boxes of other sizes are
            ignored, and so are detections of other sizes that match nothing.
    """
    low, high = sides
    confidence, correct, picture, positives = [], [], [], []
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
        picture.append(np.full(counts.sum(), number))
    order = np.argsort(-np.concatenate([np.zeros(0), *confidence]), kind="stable")
    return Matches(
        np.concatenate([np.zeros(0), *confidence])[order],
        np.concatenate([np.zeros(0, dtype=bool), *correct])[order],
        np.concatenate([np.zeros(0, dtype=np.int64), *picture])[order],
        np.asarray(positives, dtype=np.int64),
    )


def average_precision(matches: Matches, weights: npt.ArrayLike | None = None) -> float | None:
    """Return the average precision over 101 recalls, or None where there is nothing to find.

    Args:
        matches: of one class at one overlap.
        weights: how often each picture counts (pictures,); once by default.
    """
    if not _positives(matches, weights):
        return None
    precision, recall = precision_recall(matches, weights)
    return float(np.append(precision, 0.0)[np.searchsorted(recall, _RECALLS)].mean())


def precision_recall(
    matches: Matches, weights: npt.ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Return the interpolated precision (n,) and the recall (n,), rising, at each right detection."""
    positives = _positives(matches, weights)
    hits = np.flatnonzero(matches.correct)
    if not positives or not len(hits):
        return np.zeros(0), np.zeros(0)
    counts = _weights(matches, weights)[matches.picture[: hits[-1] + 1]]
    right = np.cumsum(counts * matches.correct[: hits[-1] + 1])[hits]
    precision = right / np.maximum(np.cumsum(counts)[hits], 1e-9)
    return np.maximum.accumulate(precision[::-1])[::-1], right / positives


def rates(matches: Matches, conf: float, weights: npt.ArrayLike | None = None) -> Rates:
    """Return precision, recall and F1 of the detections whose confidence is `conf` or more."""
    sure = int(np.searchsorted(-matches.confidence, -conf, side="right"))
    counts = _weights(matches, weights)[matches.picture[:sure]]
    right = float((counts * matches.correct[:sure]).sum())
    precision = right / max(float(counts.sum()), 1)
    recall = right / max(_positives(matches, weights), 1)
    return Rates(precision, recall, 2 * precision * recall / max(precision + recall, 1e-9))


def best_f1(matches: Matches) -> tuple[float, float]:
    """Return the best F1 over all confidences, and the confidence it is reached at; (0, 1) where nothing was found."""
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
    """Match the detections of one picture with its labelled boxes, whatever their classes.

    Returns:
        Counts (classes + 1, classes + 1): a row for each labelled class and one for "nothing there", a column for each class
        found and one for "not found". For each labelled box the class it was found as, or -1 (n,).
    """
    sure = case.confidence >= conf
    taken = greedy(case.overlaps[sure], iou)
    found_ids = case.found_ids[sure]
    found_as = np.full(len(case.class_ids), -1, dtype=np.int64)
    found_as[taken[taken >= 0]] = found_ids[taken >= 0]
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    np.add.at(counts, (case.class_ids, np.where(found_as < 0, classes, found_as)), 1)
    false = (taken < 0) & ~(case.excuses[sure] >= IGNORE_IOU).any(axis=1)
    np.add.at(counts[classes], found_ids[false], 1)
    return counts, found_as


def boot_weights(pictures: int, times: int = 1000, seed: int = 0) -> Ints:
    """Return how often each picture is drawn (times, pictures) when `pictures` of them are drawn with replacement."""
    return np.random.default_rng(seed).multinomial(
        pictures, np.full(pictures, 1 / pictures), size=times
    )


def interval(values: Iterable[float | None]) -> tuple[float, float] | None:
    """Return the 2.5th and the 97.5th percentile of resampled values, or None where there are none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


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
