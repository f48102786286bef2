"""Scores of subsets of the faces and images: by size, number in the image, and sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from maskyolo.core.boxes import Boxes
from maskyolo.core.images import ImageArray
from maskyolo.evaluation.metrics import Case, Floats, Ints, average_precision, match
from maskyolo.evaluation.resampling import (
    interval,
    mean_over,
    resampled_mean,
    resampled_precision,
)
from maskyolo.evaluation.scores import Slice

__all__ = ["by_crowd", "by_sharpness", "by_size", "sharpness_of"]

#: Slices by size of the face: its side in pixels after scaling the image's longer side to 640.
SIZE_SLICES = {
    "<16": (0.0, 16.0),
    "16-32": (16.0, 32.0),
    "32-96": (32.0, 96.0),
    ">96": (96.0, float("inf")),
}
#: Slices by number of faces in the image, ignored ones included.
CROWDS = {
    "0": (0, 1),
    "1": (1, 2),
    "2-4": (2, 5),
    "5-9": (5, 10),
    "10-19": (10, 20),
    "20+": (20, 10**9),
}
#: Slices by sharpness: the thirds of the faces by how much detail they show.
SHARPNESS = ("blurred", "medium", "sharp")


def _map50(
    cases: Sequence[Case],
    classes: int,
    weights: Ints,
    sides: tuple[float, float] = (0, float("inf")),
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the mean of the classes' average precisions, and its interval."""
    matches = [match(cases, class_id, sides=sides) for class_id in range(classes)]
    drawn = np.stack([resampled_precision(found, weights).mean(axis=1) for found in matches])
    return _mean([average_precision(found) for found in matches]), interval(mean_over(drawn))


def _slice(
    cases: Sequence[Case],
    found_as: Sequence[Ints],
    chosen: Sequence[Any],
    weights: Ints,
    map50: tuple[float | None, tuple[float, float] | None] = (None, None),
    images: int | None = None,
) -> Slice:
    """Return the scores of the labeled boxes selected by `chosen`, bool (n,) for each image."""
    rows = [
        (mask.sum(), (ids[mask] >= 0).sum(), (ids[mask] == case.class_ids[mask]).sum())
        for case, ids, mask in zip(cases, found_as, chosen, strict=True)
    ]
    support, found, right = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    total = int(support.sum())
    return Slice(
        total,
        float(found.sum()) / total if total else None,
        float(right.sum()) / total if total else None,
        map50[0],
        images,
        {
            "found": interval(resampled_mean(found, support, weights)),
            "right": interval(resampled_mean(right, support, weights)),
            "map50": map50[1],
        },
    )


def by_size(
    cases: Sequence[Case], found_as: Sequence[Ints], classes: int, weights: Ints
) -> dict[str, Slice]:
    """Return the scores by size of the face.

    Args:
        cases: one per image.
        found_as: the detected class of each labeled box, -1 if it was not found, by image.
        classes: number of classes.
        weights: how often each resample draws each image (times, images).
    """
    return {
        name: _slice(
            cases,
            found_as,
            [(low <= case.sides) & (case.sides < high) for case in cases],
            weights,
            _map50(cases, classes, weights, (low, high)),
        )
        for name, (low, high) in SIZE_SLICES.items()
    }


def by_crowd(
    cases: Sequence[Case], found_as: Sequence[Ints], classes: int, weights: Ints
) -> dict[str, Slice]:
    """Return the scores by number of faces in the image; the arguments are those of `by_size`."""
    parts = {}
    for name, (low, high) in CROWDS.items():
        numbers = [
            number
            for number, case in enumerate(cases)
            if low <= len(case.boxes) + len(case.ignored) < high
        ]
        chosen = [cases[number] for number in numbers]
        if chosen:
            every = [np.full(len(case.boxes), True) for case in chosen]
            drawn = weights[:, numbers]
            parts[name] = _slice(
                chosen,
                [found_as[number] for number in numbers],
                every,
                drawn,
                _map50(chosen, classes, drawn),
                len(chosen),
            )
    return parts


def by_sharpness(
    cases: Sequence[Case], found_as: Sequence[Ints], sharpness: Sequence[Floats], weights: Ints
) -> dict[str, Slice]:
    """Return the scores by thirds of the sharpness of each labeled face, (n,) for each image."""
    if not sum(map(len, sharpness)):
        return {}
    edges = [-np.inf, *np.quantile(np.concatenate(sharpness), [1 / 3, 2 / 3]), np.inf]
    return {
        name: _slice(
            cases, found_as, [(low <= values) & (values < high) for values in sharpness], weights
        )
        for name, low, high in zip(SHARPNESS, edges[:-1], edges[1:], strict=True)
    }


def sharpness_of(image: ImageArray, boxes: Boxes) -> Floats:
    """Return the variance of the Laplacian of each face (n,), in gray and scaled to 64 x 64.

    This is a common measure of focus: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield
    microscopy".
    """
    values = np.zeros(len(boxes))
    for place, (x1, y1, x2, y2) in enumerate(boxes.round().astype(int).clip(min=0)):
        crop = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        if crop.size:
            gray = cv2.resize(
                cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (64, 64), interpolation=cv2.INTER_AREA
            )
            values[place] = cv2.Laplacian(gray, cv2.CV_64F).var()
    return values


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
