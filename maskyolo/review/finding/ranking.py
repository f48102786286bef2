"""Ranks the suspicions of all photos in one list, the most suspicious photo first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskyolo.core.classes import ALL_CLASS_NAMES
from maskyolo.dataset.near_copies import group_near_copies
from maskyolo.review.finding.predictions import JudgedPhoto
from maskyolo.review.finding.scores import Scores
from maskyolo.review.suspicions import Box, Reason, Suspicion

__all__ = [
    "MIN_SCORE",
    "neighbor_distances",
    "rank",
    "suspect_copies",
    "suspect_labels",
    "suspect_unusual",
]

#: Minimum score of a suspicion for it to be listed.
MIN_SCORE = 0.1

#: Minimum score of a second reason for the same label.
_MIN_SECOND_SCORE = 0.5

#: Scores of near-copies: with different labels, in different splits, and all others.
_COPY_OTHER_LABELS, _COPY_OTHER_SPLIT, _COPY = 0.7, 0.5, 0.1

#: Number of neighbors that a photo is compared with, and maximum score of an unusual photo, which
#: is low because they are seldom errors.
_NEIGHBORS, _MAX_UNUSUAL = 5, 0.4


def rank(
    photos: Sequence[JudgedPhoto], scores: Sequence[Scores], leave_out: Collection[str] = ()
) -> list[Suspicion]:
    """Return the suspicions of all photos, ranked.

    Photos are ordered by their worst suspicion, and the suspicions of a photo by score.

    Args:
        photos: the photos.
        scores: the scores of each photo.
        leave_out: images not to list.
    """
    found: dict[str, list[Suspicion]] = {photo.image: [] for photo in photos}
    for photo, score in zip(photos, scores, strict=True):
        found[photo.image] += suspect_labels(photo, score)
    for suspicion in (*suspect_copies(photos), *suspect_unusual(photos)):
        found[suspicion.image].append(suspicion)
    listed = [
        sorted(some, key=lambda suspicion: -suspicion.score)
        for image, some in found.items()
        if some and image not in leave_out
    ]
    listed.sort(key=lambda some: (-some[0].score, some[0].image))
    return [
        replace(suspicion, rank=place) for place, some in enumerate(listed, 1) for suspicion in some
    ]


def suspect_labels(
    photo: JudgedPhoto, scores: Scores, minimum: float = MIN_SCORE
) -> list[Suspicion]:
    """Return the suspicions about a photo's labels and unlabeled faces, with rank 0.

    Args:
        photo: the photo.
        scores: its scores.
        minimum: minimum score of a suspicion.
    """
    found = []
    for line in range(len(photo.labels)):
        found += _suspect_label(photo, scores, line)
    for score, box, class_id, only_second in zip(
        scores.missing,
        scores.missing_boxes,
        scores.missing_class_ids,
        scores.only_second,
        strict=True,
    ):
        found.append(
            _suspicion(
                photo,
                Reason.SECOND_DETECTOR if only_second else Reason.MISSING,
                score,
                suggested_class=ALL_CLASS_NAMES[class_id],
                suggested_box=_plain(box),
            )
        )
    return [suspicion for suspicion in found if suspicion.score >= minimum]


def _suspect_label(photo: JudgedPhoto, scores: Scores, line: int) -> list[Suspicion]:
    """Return the worst suspicion about a label, or two if class and box are both likely wrong."""
    class_id, other_id = int(photo.labels.class_ids[line]), int(scores.other_class_ids[line])
    other = ALL_CLASS_NAMES[other_id] if other_id >= 0 else ""
    classifier = photo.features.probabilities[line]  # of two classes
    by_folder = photo.by_folder and class_id < len(classifier) and classifier[class_id] < 0.5
    box = _plain(photo.labels.boxes[line])
    wrong_class = _suspicion(
        photo,
        Reason.FOLDER_CLASS if by_folder else Reason.WRONG_CLASS,
        scores.wrong_class[line],
        label=line,
        box=box,
        suggested_class=other,
    )
    bad_box = _suspicion(
        photo,
        Reason.BAD_BOX,
        scores.bad_box[line],
        label=line,
        box=box,
        suggested_box=_plain(scores.better_boxes[line]),
    )
    spurious = _suspicion(photo, Reason.SPURIOUS, scores.spurious[line], label=line, box=box)
    duplicate = _suspicion(photo, Reason.DUPLICATE, scores.duplicate[line], label=line, box=box)
    worst = max((wrong_class, bad_box, spurious, duplicate), key=lambda suspicion: suspicion.score)
    if worst is spurious or worst is duplicate:
        return [worst]
    return [
        suspicion
        for suspicion in (wrong_class, bad_box)
        if suspicion is worst or suspicion.score >= _MIN_SECOND_SCORE
    ]


def suspect_copies(photos: Sequence[JudgedPhoto]) -> list[Suspicion]:
    """Return photos that are near-copies of an earlier one, mirrored or not, with rank 0.

    Those with different labels get the highest score, followed by those in another split.
    """
    hashes = [photo.features.hashes for photo in photos]
    groups = group_near_copies([plain for plain, _ in hashes], [mirrored for _, mirrored in hashes])
    first: dict[int, JudgedPhoto] = {}
    found = []
    for photo, group in zip(photos, groups.tolist(), strict=True):
        other = first.setdefault(group, photo)
        if other is photo:
            continue
        if sorted(photo.labels.class_ids) != sorted(other.labels.class_ids):
            score = _COPY_OTHER_LABELS
        else:
            score = _COPY_OTHER_SPLIT if photo.split != other.split else _COPY
        found.append(_suspicion(photo, Reason.DUPLICATE, score))
    return found


def suspect_unusual(photos: Sequence[JudgedPhoto]) -> list[Suspicion]:
    """Return the photos that are unlike all others, with rank 0.

    A photo is unusual if the distance of its features to its nearest neighbors is more than three
    standard deviations (estimated from the median absolute deviation) above the median.
    """
    if len(photos) <= 2 * _NEIGHBORS:
        return []
    distances = neighbor_distances(np.stack([photo.features.photo_features for photo in photos]))
    middle = np.median(distances)
    spread = 1.4826 * np.median(np.abs(distances - middle)) + 1e-9
    scores = np.clip(((distances - middle) / spread - 3) / 5, 0, 1) * _MAX_UNUSUAL
    return [
        _suspicion(photo, Reason.UNUSUAL, score)
        for photo, score in zip(photos, scores, strict=True)
        if score >= MIN_SCORE
    ]


def neighbor_distances(
    features: npt.NDArray[np.float32], neighbors: int = _NEIGHBORS
) -> npt.NDArray[np.float64]:
    """Return the mean cosine distance of each photo to its nearest neighbors.

    Args:
        features: of unit length (n, d).
        neighbors: number of neighbors.

    Returns:
        Distances float64 (n,), from 0 to 2.
    """
    found = np.empty(len(features))
    for start in range(0, len(features), 1024):  # in chunks, because the full matrix would be n x n
        similarity = features[start : start + 1024] @ features.T
        rows = np.arange(len(similarity))
        similarity[rows, rows + start] = -1  # exclude the photo itself
        nearest = np.partition(similarity, -neighbors, axis=1)[:, -neighbors:]
        found[start : start + 1024] = 1 - nearest.mean(axis=1)
    return found


def _suspicion(
    photo: JudgedPhoto,
    reason: Reason,
    score: float,
    label: int | None = None,
    box: Box = (),
    suggested_class: str = "",
    suggested_box: Box = (),
) -> Suspicion:
    return Suspicion(
        rank=0,
        image=photo.image,
        split=photo.split,
        reason=reason,
        score=float(score),
        label=label,
        box=box,
        suggested_class=suggested_class,
        suggested_box=suggested_box,
        source=photo.source,
    )


def _plain(box: npt.NDArray[np.float32]) -> Box:
    return tuple(round(float(value), 2) for value in box)
