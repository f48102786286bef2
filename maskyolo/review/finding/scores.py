"""How suspicious each label and each face without one is: pure arithmetic on labels, predictions and looks, nothing is trained on pictures.

Everything is judged by the data set's own habits: how its boxes usually lie, which faces it usually labels, how often each opinion
agrees with its classes. So what most of the labels do is right, and only what differs from that is suspicious.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes, box_area, box_iou
from maskyolo.review.finding.predictions import Photo

__all__ = [
    "Candidates",
    "Convention",
    "Scores",
    "find_candidates",
    "learn",
    "linear_probabilities",
    "match",
    "match_overlap",
    "score_photos",
]

Floats = npt.NDArray[np.float64]

#: Least overlap of a label and a face for the label to mean that face: a box moved by half its width has 1/3.
_SAME = 0.15
#: Most overlap with any label of a face that has none.
_APART = 0.3
#: Least score of a prediction that can be a label's partner.
_SEEN = 0.03
#: From this overlap with the face on a label lies as well as labels do; at the second number and below it lies badly for sure. How sure
#: the detectors are of the face counts little, by this exponent: a label with a face beside it is wrong, however weak the face.
_GOOD, _BAD, _DOUBT = 0.65, 0.45, 0.2
#: What a bad box counts that only the second detector speaks for: its own boxes lie badly on faces that fill the picture.
_ONE_OPINION = 0.25
#: What features of unit length are multiplied by for logistic regression, which holds its weights small.
_FEATURE_SCALE = 10.0


@dataclass(frozen=True)
class Candidates:
    """The faces that detectors see in a photo, of whichever detector: those of the out-of-fold detector, then those of the second alone.

    Attributes:
        boxes: as a label of this data set would lie, xyxy pixels float32 (n, 4).
        others: the same of the second detector where it sees the face, too, else the same box again.
        scores: of each class, by the out-of-fold detector (n, 2); 0 where it sees nothing.
        second: score of the second detector (n,); 0 where it sees nothing.
    """

    boxes: Boxes
    others: Boxes
    scores: Floats
    second: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    def overlap(self, labels: Boxes) -> Floats:
        """Return the IoU (m, n) of labels (m, 4) and faces, by whichever detector's box lies better."""
        return np.maximum(box_iou(labels, self.boxes), box_iou(labels, self.others)).astype(
            np.float64
        )


@dataclass(frozen=True)
class Scores:
    """How suspicious the labels of one photo and its faces without a label are, from 0 to 1.

    Attributes:
        wrong_class: of each label (n,).
        bad_box: of each label (n,).
        spurious: of each label (n,).
        twice: of each label (n,): another one of the photo means the same face.
        better: the box that each label should have, float32 (n, 4); the label's own where nobody sees its face.
        missing: of each face without a label (m,).
        faces: these faces, float32 (m, 4), as labels of this data set would lie.
        class_ids: their likely classes (m,).
        only_second: whether only the second detector sees the face (m,).
    """

    wrong_class: Floats
    bad_box: Floats
    spurious: Floats
    twice: Floats
    better: Boxes
    missing: Floats
    faces: Boxes
    class_ids: npt.NDArray[np.int64]
    only_second: npt.NDArray[np.bool_]


def match(labels: Boxes, faces: Boxes, least: float = _SAME) -> npt.NDArray[np.intp]:
    """Return for each label (n, 4) the place of the face (m, 4) it means, one to one with the greatest overlap in all; -1 for none.

    >>> match([[0, 0, 10, 10], [50, 50, 60, 60]], [[90, 90, 95, 95], [5, 0, 15, 10]]).tolist()
    [1, -1]
    """
    return match_overlap(box_iou(labels, faces), least)


def match_overlap(iou: npt.NDArray[Any], least: float = _SAME) -> npt.NDArray[np.intp]:
    """Return for each row of overlaps (n, m) the column it belongs to; see `match`."""
    from scipy.optimize import linear_sum_assignment

    partners = np.full(len(iou), -1, dtype=np.intp)
    rows, columns = linear_sum_assignment(np.where(iou >= least, iou, 0.0), maximize=True)
    real = iou[rows, columns] >= least
    partners[rows[real]] = columns[real]
    return partners


@dataclass(frozen=True)
class Convention:
    """How a data set's boxes lie, seen from a detector's: the centre's shift in its widths and heights, and logs of the sides."""

    dx: float = 0.0
    dy: float = 0.0
    dw: float = 0.0
    dh: float = 0.0

    @classmethod
    def between(cls, labels: Boxes, faces: Boxes) -> Convention:
        """Measure it on pairs of boxes (n, 4): the medians, which a few bad labels do not move; none of fewer than 10 pairs."""
        if len(labels) < 10:
            return cls()
        (label_centre, label_sides), (centre, sides) = _centres(labels), _centres(faces)
        shift, growth = (label_centre - centre) / sides, np.log(label_sides / sides)
        return cls(
            *(float(value) for value in np.median(np.concatenate([shift, growth], axis=1), axis=0))
        )

    def apply(self, faces: Boxes) -> Boxes:
        """Return a detector's boxes (n, 4) as they would lie in this data set."""
        centre, sides = _centres(faces)
        centre = centre + sides * [self.dx, self.dy]
        half = sides * np.exp([self.dw, self.dh]) / 2
        return as_boxes(np.concatenate([centre - half, centre + half], axis=1))


def find_candidates(photos: Sequence[Photo]) -> list[Candidates]:
    """Put together what both detectors see in each photo, in boxes as this data set's labels lie."""
    conventions = [
        _convention(photos, lambda photo: photo.predicted.boxes),
        _convention(photos, lambda photo: photo.look.faces.boxes),
    ]
    found = []
    for photo in photos:
        seen = photo.predicted.confidence >= _SEEN
        first = conventions[0].apply(photo.predicted.boxes[seen])
        second, scores = conventions[1].apply(photo.look.faces.boxes), photo.look.faces.scores
        partners = match(first, second, 0.4)
        alone = np.setdiff1d(np.arange(len(second)), partners)
        both = partners >= 0
        others = first.copy()
        others[both] = second[partners[both]]
        found.append(
            Candidates(
                boxes=np.concatenate([first, second[alone]]),
                others=np.concatenate([others, second[alone]]),
                scores=np.concatenate(
                    [photo.predicted.scores[seen], np.zeros((len(alone), 2))]
                ).astype(np.float64),
                second=np.concatenate(
                    [np.where(both, scores[partners] if len(scores) else 0.0, 0.0), scores[alone]]
                ).astype(np.float64),
            )
        )
    return found


def score_photos(photos: Sequence[Photo]) -> list[Scores]:
    """Score the labels of a data set's photos and the faces without one; all photos are needed to know the set's habits."""
    candidates = find_candidates(photos)
    partners = [
        match_overlap(found.overlap(photo.labels.boxes))
        for photo, found in zip(photos, candidates, strict=True)
    ]
    faces = _face_likelihood(photos, candidates)
    visible = _visibility(photos, partners)
    wrong = _wrong_class(photos, candidates, partners)
    crops = face_probabilities(photos)
    scored = []
    for photo, found, partner, face, seen, other, crop in zip(
        photos, candidates, partners, faces, visible, wrong, crops, strict=True
    ):
        boxes = photo.labels.boxes
        overlap = found.overlap(boxes)
        has = partner >= 0
        rows = np.flatnonzero(has)
        sure, lies, better = np.zeros(len(boxes)), np.zeros(len(boxes)), boxes.copy()
        sure[rows], lies[rows], better[rows] = (
            face[partner[rows]],
            overlap[rows, partner[rows]],
            found.boxes[partner[rows]],
        )
        weight = np.ones(len(boxes))
        weight[rows] = np.where(found.scores[partner[rows]].any(axis=1), 1, _ONE_OPINION)
        free = overlap.max(axis=0, initial=0) < _APART
        free[partner[rows]] = False
        if len(photo.ignored):
            free &= found.overlap(photo.ignored).max(axis=0, initial=0) < _APART
        scored.append(
            Scores(
                wrong_class=other * np.maximum(sure, crop),
                bad_box=np.where(
                    has, np.clip((_GOOD - lies) / (_GOOD - _BAD), 0, 1) * sure**_DOUBT, 0.0
                )
                * weight,
                spurious=(1 - sure)
                * np.sqrt(1 - crop)
                * seen,  # the crop alone is the weaker opinion
                twice=_twice(boxes),
                better=better,
                missing=face[free],
                faces=found.boxes[free],
                class_ids=found.scores[free].argmax(axis=1),
                only_second=(found.scores[free] == 0).all(axis=1),
            )
        )
    return scored


def _convention(photos: Sequence[Photo], boxes: Callable[[Photo], Boxes]) -> Convention:
    labels, faces = [as_boxes([])], [as_boxes([])]
    for photo in photos:
        partners = match(photo.labels.boxes, boxes(photo), 0.4)
        labels.append(photo.labels.boxes[partners >= 0])
        faces.append(boxes(photo)[partners[partners >= 0]])
    return Convention.between(np.concatenate(labels), np.concatenate(faces))


def _face_likelihood(photos: Sequence[Photo], candidates: Sequence[Candidates]) -> list[Floats]:
    """Return for each candidate how likely this data set labels such a face: by its scores and its size."""
    facts = [_facts(photo, found) for photo, found in zip(photos, candidates, strict=True)]
    labelled = [
        found.overlap(photo.labels.boxes).max(axis=0, initial=0) >= 0.5
        for photo, found in zip(photos, candidates, strict=True)
    ]
    likely = learn(np.concatenate(facts), np.concatenate(labelled))
    return [likely(fact) for fact in facts]


def _visibility(photos: Sequence[Photo], partners: Sequence[npt.NDArray[np.intp]]) -> list[Floats]:
    """Return for each label how often a detector sees labels of its size: one that is hardly ever seen says little by not being seen."""
    sizes = [_size(photo, photo.labels.boxes)[:, None] for photo in photos]
    seen = learn(np.concatenate(sizes), np.concatenate([partner >= 0 for partner in partners]))
    return [seen(size) for size in sizes]


def _wrong_class(
    photos: Sequence[Photo],
    candidates: Sequence[Candidates],
    partners: Sequence[npt.NDArray[np.intp]],
) -> list[Floats]:
    """Return for each label how likely the other class is, by what the opinions say and how often each agrees with this set's classes.

    The opinions are the out-of-fold detector's scores, the classifier's, and those of a linear classifier of the classifier's features
    that has learnt from the labels of the other folds.
    """
    linear = linear_probabilities(photos)
    opinions = []
    for photo, found, partner, own in zip(photos, candidates, partners, linear, strict=True):
        scores = np.zeros((len(partner), 2))
        scores[partner >= 0] = found.scores[partner[partner >= 0]]
        detector = np.log((scores[:, 1] + 0.01) / (scores[:, 0] + 0.01))
        opinions.append(
            np.stack([detector, _logit(photo.look.probabilities[:, 1]), _logit(own)], axis=1)
        )
    class_ids = [photo.labels.class_ids for photo in photos]
    known = np.concatenate(class_ids) < 2
    bare = learn(np.concatenate(opinions)[known], np.concatenate(class_ids)[known] == 1)
    wrong = []
    for given, opinion in zip(class_ids, opinions, strict=True):
        likely = bare(opinion)
        wrong.append(np.where(given == 1, 1 - likely, np.where(given == 0, likely, 0.0)))
    return wrong


def linear_probabilities(photos: Sequence[Photo]) -> list[Floats]:
    """Return for each label the probability of without_mask, by logistic regression on features, learnt from the other folds' labels."""
    features = [photo.look.features for photo in photos]
    return _other_folds(
        photos,
        features,
        [photo.labels.class_ids == 1 for photo in photos],
        [photo.labels.class_ids < 2 for photo in photos],
    )


def face_probabilities(photos: Sequence[Photo]) -> list[Floats]:
    """Return for each label how likely its crop is a face at all: features of the other folds' labels against those of the background."""
    features = [np.concatenate([photo.look.features, photo.look.background]) for photo in photos]
    truth = [
        np.arange(len(rows)) < len(photo.labels)
        for rows, photo in zip(features, photos, strict=True)
    ]
    found = _other_folds(
        photos, features, truth, [np.ones(len(rows), dtype=bool) for rows in features]
    )
    return [opinion[: len(photo.labels)] for opinion, photo in zip(found, photos, strict=True)]


def _other_folds(
    photos: Sequence[Photo],
    features: Sequence[npt.NDArray[Any]],
    truth: Sequence[npt.NDArray[Any]],
    use: Sequence[npt.NDArray[Any]],
) -> list[Floats]:
    counts = [len(rows) for rows in features]
    folds = np.repeat([photo.fold for photo in photos], counts)
    rows, true, used = (
        np.concatenate(features) * _FEATURE_SCALE,
        np.concatenate(truth),
        np.concatenate(use),
    )
    found = np.full(len(rows), 0.5)
    for fold in np.unique(folds):
        own = folds == fold
        if (used & ~own).any():
            found[own] = learn(rows[used & ~own], true[used & ~own])(rows[own])
    return np.split(found, np.cumsum(counts)[:-1])


def learn(
    facts: npt.NDArray[Any], truth: npt.NDArray[np.bool_]
) -> Callable[[npt.NDArray[Any]], Floats]:
    """Return a function that tells how likely `truth` is by facts (n, d): logistic regression; the share of it where there is one kind."""
    if len(np.unique(truth)) < 2:
        share = float(truth.mean()) if len(truth) else 0.5
        return lambda rows: np.full(len(rows), share)
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(facts, truth)
    return lambda rows: np.asarray(model.predict_proba(rows)[:, 1]) if len(rows) else np.zeros(0)


def _facts(photo: Photo, found: Candidates) -> npt.NDArray[np.float64]:
    return np.stack(
        [_logit(found.scores.max(axis=1, initial=0)), found.second, _size(photo, found.boxes)],
        axis=1,
    )


def _size(photo: Photo, boxes: Boxes) -> Floats:
    """Return the logs of the boxes' sides (n,), in pixels of a picture scaled to a longer side of 640."""
    sides = np.sqrt(np.maximum(box_area(boxes), 1)) * 640 / max(photo.look.width, photo.look.height)
    return np.log(sides.astype(np.float64))


def _twice(boxes: Boxes) -> Floats:
    """Return for each label (n,) its greatest overlap with an earlier one, if it is more than two faces can have, else 0."""
    overlap = np.tril(box_iou(boxes, boxes), -1).max(axis=1, initial=0).astype(np.float64)
    return np.where(overlap >= 0.6, overlap, 0.0)


def _logit(share: npt.NDArray[Any]) -> Floats:
    clipped = np.clip(np.asarray(share, dtype=np.float64), 0.003, 0.997)
    return np.log(clipped / (1 - clipped))


def _centres(boxes: Boxes) -> tuple[Floats, Floats]:
    corners = boxes.astype(np.float64)
    return (corners[:, :2] + corners[:, 2:]) / 2, np.maximum(corners[:, 2:] - corners[:, :2], 1e-6)
