"""Scores how suspicious each label and each unlabeled face is.

The scores are computed from labels, predictions and features; nothing is trained on images. Labels
are judged by the data set's own conventions: how its boxes usually fit the faces, which faces it
usually labels, and how often each source of evidence agrees with its classes. What most labels have
in common is taken as right; only deviations are suspicious.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, box_area, box_iou
from maskyolo.core.classes import WITHOUT_MASK_ID
from maskyolo.review.finding.class_probabilities import (
    face_probabilities,
    fit_classes,
    fit_logistic,
    linear_probabilities,
)
from maskyolo.review.finding.predictions import JudgedPhoto

__all__ = [
    "CandidateFaces",
    "Convention",
    "Scores",
    "find_candidates",
    "pair_boxes",
    "pair_overlaps",
    "score_photos",
]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

#: Minimum IoU for a label to belong to a face. For comparison: a box that is moved by half its
#: width has an IoU of 1/3.
_MIN_PAIR = 0.15

#: Maximum IoU of an unlabeled face with any label.
_MAX_UNLABELED = 0.3

#: Minimum IoU of two detectors' boxes for the same face, and of pairs that conventions are measured
#: on.
_MIN_SAME_FACE = 0.4

#: Minimum IoU with a label for a face to count as labeled, when learning which faces the data set
#: labels.
_MIN_LABELED = 0.5

#: Minimum IoU for two labels to be of the same face; two faces seldom overlap that much.
_MIN_DUPLICATE = 0.6

#: Minimum score of a prediction that can confirm a label.
_MIN_CONFIRMING = 0.03

#: IoU with the face from which a label fits as well as most labels, and IoU up to which it
#: certainly does not fit.
_GOOD_FIT, _BAD_FIT = 0.65, 0.45

#: Exponent of the detectors' confidence in the face in the score of a bad box. It is small because
#: a label that does not fit the face next to it is wrong, even if the detectors are not confident.
_CONFIDENCE_EXPONENT = 0.2

#: Weight of a bad box for which only the second detector is evidence. It is low because that
#: detector's own boxes do not fit faces that fill the image.
_ONLY_SECOND_WEIGHT = 0.25


#: Minimum number of pairs of boxes to measure a convention on.
_MIN_PAIRS = 10


@dataclass(frozen=True)
class CandidateFaces:
    """The faces that either detector finds in a photo.

    Those of the out-of-fold detector come first, then those that only the second one finds.

    Attributes:
        boxes: boxes drawn by this data set's convention, float32 (n, 4) xyxy pixels.
        second_boxes: the same from the second detector if it also finds the face, else `boxes`.
        scores: the out-of-fold detector's score of each class (n, c); 0 if it finds nothing.
        second_scores: the second detector's score (n,); 0 if it finds nothing.
    """

    boxes: Boxes
    second_boxes: Boxes
    scores: Floats
    second_scores: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    def overlap(self, labels: Boxes) -> Floats:
        """Return the IoU (m, n) of labels (m, 4) and faces, using the better of both boxes."""
        first, second = box_iou(labels, self.boxes), box_iou(labels, self.second_boxes)
        return np.maximum(first, second).astype(np.float64)


@dataclass(frozen=True)
class Scores:
    """How suspicious a photo's n labels and m unlabeled faces are, from 0 to 1.

    Attributes:
        wrong_class: score of each label (n,).
        other_class_ids: the most likely other class of each label (n,); -1 for none.
        bad_box: score of each label (n,).
        spurious: score of each label (n,).
        duplicate: score of each label (n,): another label is of the same face.
        better_boxes: the box that each label should have, float32 (n, 4) xyxy pixels; the label's
            own box if no detector finds its face.
        missing: score of each unlabeled face (m,).
        missing_boxes: boxes of these faces, drawn by this data set's convention, float32 (m, 4).
        missing_class_ids: their most likely classes (m,).
        only_second: whether only the second detector finds the face (m,).
    """

    wrong_class: Floats
    other_class_ids: npt.NDArray[np.int64]
    bad_box: Floats
    spurious: Floats
    duplicate: Floats
    better_boxes: Boxes
    missing: Floats
    missing_boxes: Boxes
    missing_class_ids: npt.NDArray[np.int64]
    only_second: npt.NDArray[np.bool_]


def pair_boxes(labels: Boxes, faces: Boxes, minimum: float = _MIN_PAIR) -> Places:
    """Pair labels and faces one to one, with the largest total overlap.

    Args:
        labels: xyxy pixels (n, 4).
        faces: xyxy pixels (m, 4).
        minimum: minimum IoU of a pair.

    Returns:
        The index of each label's face, -1 for none (n,).

    Examples:
        >>> labels = [[0, 0, 10, 10], [50, 50, 60, 60]]
        >>> pair_boxes(labels, [[90, 90, 95, 95], [5, 0, 15, 10]]).tolist()
        [1, -1]
    """
    return pair_overlaps(box_iou(labels, faces), minimum)


def pair_overlaps(iou: npt.NDArray[Any], minimum: float = _MIN_PAIR) -> Places:
    """Return the column that each row of overlaps (n, m) is paired with; see `pair_boxes`."""
    from scipy.optimize import linear_sum_assignment

    partners = np.full(len(iou), -1, dtype=np.intp)
    rows, columns = linear_sum_assignment(np.where(iou >= minimum, iou, 0.0), maximize=True)
    real = iou[rows, columns] >= minimum
    partners[rows[real]] = columns[real]
    return partners


@dataclass(frozen=True)
class Convention:
    """How a data set's boxes differ systematically from a detector's.

    Attributes:
        dx: shift of the center, in widths of the detector's box.
        dy: shift of the center, in heights.
        dw: logarithm of the ratio of the widths.
        dh: logarithm of the ratio of the heights.
    """

    dx: float = 0.0
    dy: float = 0.0
    dw: float = 0.0
    dh: float = 0.0

    @classmethod
    def between(cls, labels: Boxes, faces: Boxes) -> Convention:
        """Measure it on pairs of boxes (n, 4). Medians make it robust to bad labels.

        With fewer than 10 pairs, it is the identity.
        """
        if len(labels) < _MIN_PAIRS:
            return cls()
        (label_centers, label_sides), (centers, sides) = _centers(labels), _centers(faces)
        shift, growth = (label_centers - centers) / sides, np.log(label_sides / sides)
        medians = np.median(np.concatenate([shift, growth], axis=1), axis=0)
        return cls(*medians.tolist())

    def apply(self, faces: Boxes) -> Boxes:
        """Return a detector's boxes (n, 4), adjusted to this data set's convention."""
        centers, sides = _centers(faces)
        centers = centers + sides * [self.dx, self.dy]
        half = sides * np.exp([self.dw, self.dh]) / 2
        return as_boxes(np.concatenate([centers - half, centers + half], axis=1))


def find_candidates(photos: Sequence[JudgedPhoto]) -> list[CandidateFaces]:
    """Combine both detectors' faces in each photo, with boxes by this data set's convention."""
    first_convention = _convention(photos, lambda photo: photo.predictions.boxes)
    second_convention = _convention(photos, lambda photo: photo.features.faces.boxes)
    found = []
    for photo in photos:
        kept = photo.predictions.confidence >= _MIN_CONFIRMING
        first = first_convention.apply(photo.predictions.boxes[kept])
        second = second_convention.apply(photo.features.faces.boxes)
        second_scores = photo.features.faces.scores
        partners = pair_boxes(first, second, _MIN_SAME_FACE)
        alone = np.setdiff1d(np.arange(len(second)), partners)
        both = partners >= 0
        paired, confirmed = first.copy(), np.zeros(len(first))
        paired[both], confirmed[both] = second[partners[both]], second_scores[partners[both]]
        nothing = np.zeros((len(alone), photo.predictions.scores.shape[1]), np.float32)
        found.append(
            CandidateFaces(
                boxes=np.concatenate([first, second[alone]]),
                second_boxes=np.concatenate([paired, second[alone]]),
                scores=np.concatenate([photo.predictions.scores[kept], nothing]).astype(np.float64),
                second_scores=np.concatenate([confirmed, second_scores[alone]]).astype(np.float64),
            )
        )
    return found


def score_photos(photos: Sequence[JudgedPhoto]) -> list[Scores]:
    """Score the labels of a data set's photos, and the unlabeled faces.

    Pass all photos of the data set: its conventions are measured on them.
    """
    candidates = find_candidates(photos)
    partners = [
        pair_overlaps(found.overlap(photo.labels.boxes))
        for photo, found in zip(photos, candidates, strict=True)
    ]
    return [
        _score_photo(*evidence)
        for evidence in zip(
            photos,
            candidates,
            partners,
            _labeling_probabilities(photos, candidates),
            _visibilities(photos, partners),
            _wrong_class(photos, candidates, partners),
            face_probabilities(photos),
            strict=True,
        )
    ]


def _score_photo(
    photo: JudgedPhoto,
    found: CandidateFaces,
    partner: Places,
    labeled: Floats,
    visible: Floats,
    other_class: tuple[Floats, npt.NDArray[np.int64]],
    crop: Floats,
) -> Scores:
    """Score the n labels of a photo against its k candidate faces.

    Args:
        photo: the photo.
        found: its candidate faces.
        partner: index of each label's candidate, -1 for none (n,).
        labeled: probability that this data set labels each candidate (k,).
        visible: probability that a detector finds each label's face (n,).
        other_class: probability that each label should have another class (n,), and which.
        crop: probability that the crop of each label shows a face (n,).
    """
    boxes = photo.labels.boxes
    overlap = found.overlap(boxes)
    rows = np.flatnonzero(partner >= 0)
    columns = partner[rows]
    face, fit, weight = np.zeros(len(boxes)), np.ones(len(boxes)), np.ones(len(boxes))
    better = boxes.copy()
    face[rows], fit[rows], better[rows] = (
        labeled[columns],
        overlap[rows, columns],
        found.boxes[columns],
    )
    weight[rows] = np.where(found.scores[columns].any(axis=1), 1, _ONLY_SECOND_WEIGHT)
    misfit = np.clip((_GOOD_FIT - fit) / (_GOOD_FIT - _BAD_FIT), 0, 1)
    free = overlap.max(axis=0, initial=0) < _MAX_UNLABELED
    free[columns] = False
    if len(photo.ignored):
        free &= found.overlap(photo.ignored).max(axis=0, initial=0) < _MAX_UNLABELED
    return Scores(
        wrong_class=other_class[0] * np.maximum(face, crop),
        other_class_ids=other_class[1],
        bad_box=misfit * face**_CONFIDENCE_EXPONENT * weight,
        spurious=(1 - face) * np.sqrt(1 - crop) * visible,  # crop: weaker evidence
        duplicate=_duplicate(boxes),
        better_boxes=better,
        missing=labeled[free],
        missing_boxes=found.boxes[free],
        missing_class_ids=found.scores[free].argmax(axis=1),
        only_second=(found.scores[free] == 0).all(axis=1),
    )


def _convention(photos: Sequence[JudgedPhoto], boxes: Callable[[JudgedPhoto], Boxes]) -> Convention:
    labels, faces = [as_boxes([])], [as_boxes([])]
    for photo in photos:
        partners = pair_boxes(photo.labels.boxes, boxes(photo), _MIN_SAME_FACE)
        labels.append(photo.labels.boxes[partners >= 0])
        faces.append(boxes(photo)[partners[partners >= 0]])
    return Convention.between(np.concatenate(labels), np.concatenate(faces))


def _labeling_probabilities(
    photos: Sequence[JudgedPhoto], candidates: Sequence[CandidateFaces]
) -> list[Floats]:
    """Return the probability that this data set labels such a face, for each candidate.

    It depends on the scores and the size of the face.
    """
    evidence, labeled = [], []
    for photo, found in zip(photos, candidates, strict=True):
        best = _logit(found.scores.max(axis=1, initial=0))
        size = _log_size(photo, found.boxes)
        evidence.append(np.stack([best, found.second_scores, size], axis=1))
        overlap = found.overlap(photo.labels.boxes).max(axis=0, initial=0)
        labeled.append(overlap >= _MIN_LABELED)
    probability = fit_logistic(np.concatenate(evidence), np.concatenate(labeled))
    return [probability(rows) for rows in evidence]


def _visibilities(photos: Sequence[JudgedPhoto], partners: Sequence[Places]) -> list[Floats]:
    """Return the probability that a detector finds labels of its size, for each label.

    If labels of that size are seldom found, a miss is weak evidence.
    """
    sizes = [_log_size(photo, photo.labels.boxes)[:, None] for photo in photos]
    found = np.concatenate([partner >= 0 for partner in partners])
    probability = fit_logistic(np.concatenate(sizes), found)
    return [probability(size) for size in sizes]


def _wrong_class(
    photos: Sequence[JudgedPhoto],
    candidates: Sequence[CandidateFaces],
    partners: Sequence[Places],
) -> list[tuple[Floats, npt.NDArray[np.int64]]]:
    """Return the probability that each label should have another class, and which.

    The evidence is the out-of-fold detector's scores, the classifier's, and those of a linear
    classifier that was fitted to the labels of the other folds; each is weighted by how often it
    agrees with this data set's classes.
    """
    classes = max((photo.predictions.scores.shape[1] for photo in photos), default=2)
    linear = linear_probabilities(photos, classes)
    evidence = []
    for photo, found, partner, own in zip(photos, candidates, partners, linear, strict=True):
        scores = np.zeros((len(partner), classes))
        scores[partner >= 0] = found.scores[partner[partner >= 0]]
        others = np.delete(scores, WITHOUT_MASK_ID, axis=1)
        detector = np.log((scores[:, [WITHOUT_MASK_ID]] + 0.01) / (others + 0.01))
        classifier = _logit(photo.features.probabilities[:, [WITHOUT_MASK_ID]])
        evidence.append(np.concatenate([detector, classifier, _logit(own[:, 1:])], axis=1))
    class_ids = [photo.labels.class_ids for photo in photos]
    every_class = np.concatenate(class_ids)
    known = every_class < classes
    fitted = fit_classes(np.concatenate(evidence)[known], every_class[known], classes)
    return [
        _other_class(fitted(rows), given) for given, rows in zip(class_ids, evidence, strict=True)
    ]


def _other_class(
    likely: Floats, given: npt.NDArray[np.int64]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the probability that labels do not have their class, and the most likely other one.

    Args:
        likely: probability of each class of each label (n, c).
        given: class of each label (n,); one from c on is never wrong.
    """
    rows = np.flatnonzero(given < likely.shape[1])
    wrong, others = np.zeros(len(given)), np.full(len(given), -1, dtype=np.int64)
    wrong[rows] = 1 - likely[rows, given[rows]]
    rest = likely.copy()
    rest[rows, given[rows]] = -1
    others[rows] = rest[rows].argmax(axis=1)
    return wrong, others


def _log_size(photo: JudgedPhoto, boxes: Boxes) -> Floats:
    """Return the logarithm of the boxes' sides (n,), in pixels of an image scaled to 640 pixels."""
    longer = max(photo.features.width, photo.features.height)
    sides = np.sqrt(np.maximum(box_area(boxes), 1)) * 640 / longer
    return np.log(sides.astype(np.float64))


def _duplicate(boxes: Boxes) -> Floats:
    """Return each label's maximum IoU with an earlier one (n,); 0 if they may be two faces."""
    overlap = np.tril(box_iou(boxes, boxes), -1).max(axis=1, initial=0).astype(np.float64)
    return np.where(overlap >= _MIN_DUPLICATE, overlap, 0.0)


def _logit(share: npt.NDArray[Any]) -> Floats:
    clipped = np.clip(np.asarray(share, dtype=np.float64), 0.003, 0.997)
    return np.log(clipped / (1 - clipped))


def _centers(boxes: Boxes) -> tuple[Floats, Floats]:
    """Return the centers and the sides of boxes, both (n, 2)."""
    corners = boxes.astype(np.float64)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 1e-6)
    return (corners[:, :2] + corners[:, 2:]) / 2, sides
