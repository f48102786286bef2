"""Label quality scores of cleanlab and FiftyOne Brain, for the same labels and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.review.finding.predictions import JudgedPhoto, Predictions

__all__ = ["QualityScores", "cleanlab_scores", "mistakenness"]

Floats = npt.NDArray[np.float64]

#: Confidence from which cleanlab treats a prediction as certain, and minimum confidence. Its own
#: defaults, 0.95 and 0.5, are for fully trained detectors.
_CERTAIN, _MINIMUM = 0.3, 0.1


@dataclass(frozen=True)
class QualityScores:
    """One method's scores of a photo's labels and unlabeled faces, 0 to 1 (most suspicious).

    Attributes:
        wrong_class: score of each label (n,).
        bad_box: score of each label (n,).
        spurious: score of each label (n,).
        missing: score of each prediction (m,) that is an unlabeled face, else 0.
    """

    wrong_class: Floats
    bad_box: Floats
    spurious: Floats
    missing: Floats


def cleanlab_scores(
    photos: Sequence[JudgedPhoto], boxes: Sequence[Boxes] | None = None
) -> list[QualityScores]:
    """Return cleanlab's scores of swapped, badly located and overlooked boxes.

    The method is ObjectLab (Tkachenko et al. 2023, arXiv:2309.00832). cleanlab's scores are 0 for
    an error; here they are inverted. It has no score for boxes without an object.

    Args:
        photos: labels and predictions.
        boxes: boxes (m, 4) to use instead of the predictions' own, for each photo.
    """
    from cleanlab.object_detection import rank

    predictions = [photo.predictions for photo in photos]
    placed = [found.boxes for found in predictions] if boxes is None else boxes
    labels = [
        {"bboxes": photo.labels.boxes.astype(float), "labels": photo.labels.class_ids}
        for photo in photos
    ]
    rows = [_rows(found, own) for found, own in zip(predictions, placed, strict=True)]
    kept = [  # cleanlab needs at least one label and one prediction per photo
        place for place, photo in enumerate(photos) if len(photo.labels) and len(photo.predictions)
    ]
    given: dict[str, Any] = {
        "labels": [labels[place] for place in kept],
        "predictions": [rows[place] for place in kept],
    }
    measured = {}
    if kept:
        columns = (
            rank.compute_overlooked_box_scores(**given, high_probability_threshold=_CERTAIN),
            rank.compute_badloc_box_scores(**given, low_probability_threshold=_MINIMUM),
            rank.compute_swap_box_scores(**given, high_probability_threshold=_CERTAIN),
        )
        measured = {place: scores for place, *scores in zip(kept, *columns, strict=True)}
    found = []
    for place, photo in enumerate(photos):
        nothing = np.zeros(len(photo.labels))
        # cleanlab returns predictions class by class
        order = np.argsort(photo.predictions.class_ids, kind="stable")
        missing = np.zeros(len(photo.predictions))
        if place in measured:
            overlooked, located, same_class = measured[place]
            missing[order] = np.nan_to_num(1 - overlooked, nan=0.0)
            found.append(QualityScores(1 - same_class, 1 - located, nothing, missing))
        else:
            confidence = photo.predictions.confidence.astype(np.float64)
            found.append(QualityScores(nothing, nothing, nothing, confidence))
    return found


def _rows(predictions: Predictions, boxes: Boxes) -> npt.NDArray[Any]:
    """Return predictions in cleanlab's format: boxes and confidence (n, 5) for each class."""
    rows = np.empty(len(CLASS_NAMES), dtype=object)
    every = np.concatenate([boxes, predictions.confidence[:, None]], axis=1).astype(float)
    for class_id in range(len(CLASS_NAMES)):
        rows[class_id] = every[predictions.class_ids == class_id]
    return rows


def mistakenness(photos: Sequence[JudgedPhoto]) -> list[QualityScores]:
    """Return the scores of FiftyOne Brain's `compute_mistakenness`.

    It runs on a temporary data set in FiftyOne's database. It only flags boxes without an object,
    and predictions above 0.95 without a label; the score of the latter is their confidence.

    Raises:
        DependencyError: FiftyOne is not installed.
        MaskyoloError: its database does not start.
    """
    from maskyolo.review.app.database import connect

    fo = connect()
    import fiftyone.brain as fob

    dataset = fo.Dataset()
    try:
        dataset.add_samples([_sample(fo, photo) for photo in photos], progress=False)
        fob.compute_mistakenness(dataset, "predictions", label_field="ground_truth", progress=False)
        found = []
        for sample, photo in zip(dataset.iter_samples(), photos, strict=True):
            labels, predictions = sample["ground_truth"], sample["predictions"]
            missing = _values(predictions, "possible_missing") > 0
            found.append(
                QualityScores(
                    wrong_class=_values(labels, "mistakenness"),
                    bad_box=_values(labels, "mistakenness_loc"),
                    spurious=_values(labels, "possible_spurious"),
                    missing=missing * photo.predictions.confidence.astype(np.float64),
                )
            )
    finally:
        dataset.delete()
    return found


def _values(detections: Any, name: str) -> Floats:
    """Return an attribute of each box; 0 if the Brain did not set it."""

    def value(detection: Any) -> float:
        try:
            return float(detection[name] or 0)
        except KeyError:
            return 0.0

    return np.array([value(detection) for detection in detections.detections], dtype=np.float64)


def _sample(fo: Any, photo: JudgedPhoto) -> Any:
    """Return a photo with labels and predictions; its image file does not have to exist."""
    sides = np.array([photo.features.width, photo.features.height] * 2)
    sample = fo.Sample(filepath=f"/{photo.image}")
    labels, predictions = photo.labels, photo.predictions
    for where, found, confidence in (
        ("ground_truth", labels, [None] * len(labels)),
        ("predictions", predictions, predictions.confidence.tolist()),
    ):
        corners = found.boxes / sides
        xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
        detections = [
            fo.Detection(label=str(class_id), bounding_box=box, confidence=score)
            for box, class_id, score in zip(xywh, found.class_ids.tolist(), confidence, strict=True)
        ]
        sample[where] = fo.Detections(detections=detections)
    return sample
