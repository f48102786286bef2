"""What a data set's photos are judged by: features and predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes
from maskyolo.core.classes import ALL_CLASS_NAMES, CLASS_NAMES, WITHOUT_MASK_ID
from maskyolo.core.files import write_atomic
from maskyolo.core.labels import Labels
from maskyolo.core.parsing import MAX_JSON, parse_json, read_text
from maskyolo.errors import DatasetError

if TYPE_CHECKING:
    from maskyolo.review.finding.features import FaceFeatures

__all__ = ["JudgedPhoto", "Predictions", "read_predictions", "write_predictions"]

_REMEDY = "give a file of `maskyolo detect --save-json`"


@dataclass(frozen=True)
class Predictions:
    """The faces that a detector predicts in a photo.

    Attributes:
        boxes: xyxy pixels, float32 (n, 4).
        scores: of each class, float32 (n, c), from 0 to 1; c is 3 in a data set of three classes,
            else 2.
    """

    boxes: Boxes
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls, classes: int = 2) -> Predictions:
        """Return no faces: shapes (0, 4) and (0, `classes`)."""
        return cls(as_boxes([]), np.zeros((0, classes), np.float32))

    def with_classes(self, classes: int) -> Predictions:
        """Return the same faces with 2 or 3 classes; the third counts as without_mask, else 0."""
        missing = classes - self.scores.shape[1]
        if missing >= 0:
            return Predictions(self.boxes, np.pad(self.scores, ((0, 0), (0, missing))))
        scores = self.scores[:, :classes].copy()
        scores[:, WITHOUT_MASK_ID] = self.scores[:, WITHOUT_MASK_ID:].max(axis=1)
        return Predictions(self.boxes, scores)

    @property
    def class_ids(self) -> npt.NDArray[np.int64]:
        """The most likely class of each face, int64 (n,)."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.int64)

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """The score of the most likely class of each face, float32 (n,)."""
        return np.asarray(self.scores.max(axis=1, initial=0), dtype=np.float32)


@dataclass(frozen=True)
class JudgedPhoto:
    """A photo of a data set, with everything that its labels are judged by.

    Attributes:
        image: its image file, relative to the set's folder.
        split: train, val or test.
        features: its labels, and features computed from the image without training.
        predictions: faces predicted by a detector that was not trained on the photo.
        fold: number of its fold; near-copies are in the same one.
        source: its name in the ledger.
        by_folder: whether its labels' classes come from the name of its folder.
        ignored: boxes that are blanked out, float32 (n, 4) xyxy pixels.
    """

    image: str
    split: str
    features: FaceFeatures
    predictions: Predictions
    fold: int = 0
    source: str = ""
    by_folder: bool = False
    ignored: Boxes = field(default_factory=lambda: as_boxes([]))

    @property
    def labels(self) -> Labels:
        """Its labels."""
        return self.features.labels


def write_predictions(path: Path, predictions: Mapping[str, Predictions]) -> None:
    """Write predictions as JSON lines, as `maskyolo detect --save-json` does.

    Each face also has `scores`: the scores of all classes.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = []
    for source, found in predictions.items():
        detections = [
            {
                "box": [round(float(value), 2) for value in box],
                "class": ALL_CLASS_NAMES[int(scores.argmax())],
                "class_id": int(scores.argmax()),
                "confidence": round(float(scores.max()), 5),
                "scores": [round(float(score), 5) for score in scores],
            }
            for box, scores in zip(found.boxes, found.scores, strict=True)
        ]
        record = {"source": source, "detections": detections}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_atomic(path, "".join(lines))


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Read predictions by source from JSON lines, including those of `detect --save-json`.

    If a face lacks the scores of all classes, the other classes get 0. Lines with an error, of
    images that could not be read, are skipped.

    Raises:
        DatasetError: there is no such file, or a line does not contain predictions.
    """
    try:
        lines = read_text(path, MAX_JSON).split("\n")  # a name may contain other line separators
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read predictions {path}: {error}", _REMEDY) from error
    predictions = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
            if "error" not in record:
                predictions[str(record["source"])] = _parse(record["detections"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DatasetError(
                f"{path}, line {number}: no predictions ({type(error).__name__}: {error})", _REMEDY
            ) from error
    return predictions


def _parse(detections: list[dict[str, Any]]) -> Predictions:
    rows = [_scores(detection) for detection in detections]
    classes = max((len(row) for row in rows), default=len(CLASS_NAMES))
    scores = np.zeros((len(rows), classes), np.float32)
    for place, row in enumerate(rows):
        scores[place, : len(row)] = row
    return Predictions(as_boxes([detection["box"] for detection in detections]), scores)


def _scores(detection: dict[str, Any]) -> list[float]:
    """Return the scores of a detection's classes, at least two."""
    if "scores" in detection:
        return list(detection["scores"])
    class_id = ALL_CLASS_NAMES.index(detection["class"])
    scores = [0.0] * max(len(CLASS_NAMES), class_id + 1)
    scores[class_id] = detection["confidence"]
    return scores
