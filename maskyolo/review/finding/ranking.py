"""One ranked list: the suspicions of all photos, the most suspicious photo first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from maskyolo.core.classes import CLASS_NAMES
from maskyolo.review.finding.predictions import Photo
from maskyolo.review.finding.scores import Scores
from maskyolo.review.suspicions import Suspicion
from maskyolo.splits import group_near_copies

__all__ = ["LEAST", "rank", "suspect_copies", "suspect_labels", "suspect_unusual"]

#: Suspicions below this score are left out.
LEAST = 0.1
#: A second reason for the same label is told from this score on.
_ALSO = 0.5
#: Scores of a photo with a near-copy in the set: one that has other labels, one in another split, any other.
_COPY_OTHERWISE, _COPY_LEAKS, _COPY = 0.7, 0.5, 0.1
#: Neighbours that a photo is compared with, and the most that being unlike them counts: it is seldom an error.
_NEIGHBOURS, _UNUSUAL = 5, 0.4


def rank(
    photos: Sequence[Photo], scores: Sequence[Scores], leave_out: Collection[str] = ()
) -> list[Suspicion]:
    """Return the suspicions of all photos but the pictures `leave_out`: photos by their worst one, and each photo's by score."""
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


def suspect_labels(photo: Photo, scores: Scores, least: float = LEAST) -> list[Suspicion]:
    """Return what is suspicious of a photo's labels, and the faces that have none; their rank is still 0."""

    def suspicion(
        reason: str,
        score: float,
        place: int | None = None,
        class_name: str = "",
        box: Sequence[float] = (),
    ) -> Suspicion:
        own = () if place is None else _plain(photo.labels.boxes[place])
        return Suspicion(
            0,
            photo.image,
            photo.split,
            reason,
            float(score),
            place,
            own,
            class_name,
            _plain(box),
            photo.source,
        )

    found = []
    for place, class_id in enumerate(photo.labels.class_ids.tolist()):
        other = CLASS_NAMES[1 - class_id] if class_id < len(CLASS_NAMES) else ""
        by_folder = (
            photo.by_folder and bool(other) and photo.look.probabilities[place, 1 - class_id] > 0.5
        )
        reasons = [
            suspicion(
                "folder_class" if by_folder else "wrong_class",
                scores.wrong_class[place],
                place,
                class_name=other,
            ),
            suspicion("bad_box", scores.bad_box[place], place, box=scores.better[place]),
            suspicion("spurious", scores.spurious[place], place),
            suspicion("duplicate", scores.twice[place], place),
        ]
        worst = max(reasons, key=lambda reason: reason.score)
        found += [
            reason
            for reason in reasons
            if reason is worst
            or (worst in reasons[:2] and reason in reasons[:2] and reason.score >= _ALSO)
        ]
    for score, box, class_id, only_second in zip(
        scores.missing, scores.faces, scores.class_ids, scores.only_second, strict=True
    ):
        found.append(
            suspicion(
                "second_detector" if only_second else "missing",
                score,
                class_name=CLASS_NAMES[class_id],
                box=box,
            )
        )
    return [reason for reason in found if reason.score >= least]


def suspect_copies(photos: Sequence[Photo]) -> list[Suspicion]:
    """Return the photos that are near-copies of an earlier one, mirrored ones too; those with other labels or in another split first."""
    groups = group_near_copies(
        [photo.look.hashes[0] for photo in photos], [photo.look.hashes[1] for photo in photos]
    )
    first: dict[int, Photo] = {}
    found = []
    for photo, group in zip(photos, groups.tolist(), strict=True):
        other = first.setdefault(group, photo)
        if other is not photo:
            alike = sorted(photo.labels.class_ids.tolist()) == sorted(
                other.labels.class_ids.tolist()
            )
            score = (
                _COPY_OTHERWISE
                if not alike
                else _COPY_LEAKS
                if photo.split != other.split
                else _COPY
            )
            found.append(
                Suspicion(0, photo.image, photo.split, "duplicate", score, source=photo.source)
            )
    return found


def suspect_unusual(photos: Sequence[Photo]) -> list[Suspicion]:
    """Return the photos that are unlike all others: far from their nearest neighbours by the features of the whole photo."""
    if len(photos) <= 2 * _NEIGHBOURS:
        return []
    distances = neighbour_distances(np.stack([photo.look.whole for photo in photos]))
    middle = np.median(distances)
    spread = 1.4826 * np.median(np.abs(distances - middle)) + 1e-9
    scores = np.clip(((distances - middle) / spread - 3) / 5, 0, 1) * _UNUSUAL
    return [
        Suspicion(0, photo.image, photo.split, "unusual", float(score), source=photo.source)
        for photo, score in zip(photos, scores, strict=True)
        if score >= LEAST
    ]


def neighbour_distances(
    features: npt.NDArray[np.float32], neighbours: int = _NEIGHBOURS
) -> npt.NDArray[np.float64]:
    """Return the mean cosine distance (n,) of features of unit length (n, d) to their nearest neighbours."""
    found = np.empty(len(features))
    for start in range(0, len(features), 1024):
        alike = features[start : start + 1024] @ features.T
        alike[np.arange(len(alike)), np.arange(start, start + len(alike))] = -1
        found[start : start + 1024] = 1 - np.sort(alike, axis=1)[:, -neighbours:].mean(axis=1)
    return found


def _plain(box: Sequence[float] | npt.NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in box)
