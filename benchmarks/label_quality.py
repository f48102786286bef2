"""Other people's measures of label quality, on the same labels and predictions: cleanlab's and FiftyOne Brain's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.review.finding.predictions import Photo, Predicted

__all__ = ["Opinion", "cleanlab_opinions", "mistakenness"]

Floats = npt.NDArray[np.float64]

#: From what confidence on a prediction is sure, and from what on it is one, to cleanlab. Its own 0.95 and 0.5 are for detectors that
#: were trained to the end.
_SURE, _SEEN = 0.3, 0.1


@dataclass(frozen=True)
class Opinion:
    """How suspicious one method finds the labels of a photo and the faces it lacks, from 0 to 1.

    Attributes:
        wrong_class: of each label (n,).
        bad_box: of each label (n,).
        spurious: of each label (n,).
        missing: of each prediction (m,) that it takes for a face without a label, else 0.
    """

    wrong_class: Floats
    bad_box: Floats
    spurious: Floats
    missing: Floats


def cleanlab_opinions(
    photos: Sequence[Photo], boxes: Sequence[Boxes] | None = None
) -> list[Opinion]:
    """Return cleanlab's scores of swapped, badly located and overlooked boxes (ObjectLab, Tkachenko et al. 2023, arXiv:2309.00832).

    cleanlab scores from 0 (an error) to 1; here it is the other way round. It has no score for boxes without an object.

    Args:
        photos: labels and predictions.
        boxes: the predictions' boxes (m, 4) of each photo, if others than they have.
    """
    from cleanlab.object_detection import rank

    predictions = [photo.predicted for photo in photos]
    placed = [predicted.boxes for predicted in predictions] if boxes is None else boxes
    labels = [
        {"bboxes": photo.labels.boxes.astype(float), "labels": photo.labels.class_ids}
        for photo in photos
    ]
    rows = [_rows(predicted, own) for predicted, own in zip(predictions, placed, strict=True)]
    kept = [
        place for place, photo in enumerate(photos) if len(photo.labels) and len(photo.predicted)
    ]  # it takes no photo without both
    given: dict[str, Any] = {
        "labels": [labels[place] for place in kept],
        "predictions": [rows[place] for place in kept],
    }
    overlooked = (
        rank.compute_overlooked_box_scores(**given, high_probability_threshold=_SURE)
        if kept
        else []
    )
    badly = rank.compute_badloc_box_scores(**given, low_probability_threshold=_SEEN) if kept else []
    swapped = (
        rank.compute_swap_box_scores(**given, high_probability_threshold=_SURE) if kept else []
    )
    measured = {
        place: measures for place, *measures in zip(kept, overlooked, badly, swapped, strict=True)
    }
    found = []
    for place, photo in enumerate(photos):
        nothing = np.zeros(len(photo.labels))
        order = np.argsort(
            photo.predicted.class_ids, kind="stable"
        )  # cleanlab counts predictions class by class
        missing = np.zeros(len(photo.predicted))
        if place in measured:
            apart, lies, same = measured[place]
            missing[order] = np.nan_to_num(1 - apart, nan=0.0)
            found.append(Opinion(1 - same, 1 - lies, nothing, missing))
        else:
            found.append(
                Opinion(nothing, nothing, nothing, photo.predicted.confidence.astype(np.float64))
            )
    return found


def _rows(predicted: Predicted, boxes: Boxes) -> npt.NDArray[Any]:
    """Return predictions as cleanlab takes them: for each class (n, 5), boxes and confidence."""
    rows = np.empty(len(CLASS_NAMES), dtype=object)
    every = np.concatenate([boxes, predicted.confidence[:, None]], axis=1).astype(float)
    for class_id in range(len(CLASS_NAMES)):
        rows[class_id] = every[predicted.class_ids == class_id]
    return rows


def mistakenness(photos: Sequence[Photo]) -> list[Opinion]:
    """Return what FiftyOne Brain's `compute_mistakenness` says, by way of a data set in FiftyOne's database that is deleted again.

    It says yes or no to boxes without an object, and to predictions of more than 0.95 that no label has; such a one counts as much as
    it is confident.

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
            labels = sample["ground_truth"].detections
            missing = [
                bool(_told(detection, "possible_missing"))
                for detection in sample["predictions"].detections
            ]
            found.append(
                Opinion(
                    wrong_class=np.array(
                        [_told(label, "mistakenness") for label in labels], dtype=np.float64
                    ),
                    bad_box=np.array(
                        [_told(label, "mistakenness_loc") for label in labels], dtype=np.float64
                    ),
                    spurious=np.array(
                        [_told(label, "possible_spurious") for label in labels], dtype=np.float64
                    ),
                    missing=np.array(missing, dtype=np.float64) * photo.predicted.confidence,
                )
            )
    finally:
        dataset.delete()
    return found


def _told(detection: Any, what: str) -> float:
    """Return what the Brain says of a box; it says nothing where there is nothing to say."""
    try:
        return float(detection[what] or 0)
    except KeyError:
        return 0.0


def _sample(fo: Any, photo: Photo) -> Any:
    """Return a photo with labels and predictions; the file it names need not be there."""
    sides = np.array([photo.look.width, photo.look.height] * 2)
    sample = fo.Sample(filepath=f"/{photo.image}")
    for where, boxes, class_ids, confidence in (
        ("ground_truth", photo.labels.boxes, photo.labels.class_ids, [None] * len(photo.labels)),
        (
            "predictions",
            photo.predicted.boxes,
            photo.predicted.class_ids,
            photo.predicted.confidence.tolist(),
        ),
    ):
        corners = boxes / sides
        xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
        detections = [
            fo.Detection(label=str(class_id), bounding_box=box, confidence=score)
            for box, class_id, score in zip(xywh, class_ids.tolist(), confidence, strict=True)
        ]
        sample[where] = fo.Detections(detections=detections)
    return sample
