"""What is known of a data set's photos before they are judged: what is seen in them by detectors that have not learnt from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maskyolo.boxes import Boxes, as_boxes
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError
from maskyolo.labels import Labels

if TYPE_CHECKING:
    from maskyolo.review.finding.features import Look

__all__ = ["Photo", "Predicted", "read_predictions", "write_predictions"]


@dataclass(frozen=True)
class Predicted:
    """The faces that a detector sees in a photo.

    Attributes:
        boxes: xyxy pixels, float32 (n, 4).
        scores: of each class, float32 (n, 2), from 0 to 1.
    """

    boxes: Boxes
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Predicted:
        """Return no faces: shapes (0, 4) and (0, 2)."""
        return cls(as_boxes([]), np.zeros((0, len(CLASS_NAMES)), np.float32))

    @property
    def class_ids(self) -> npt.NDArray[np.int64]:
        """The likelier class of each face, int64 (n,)."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.int64)

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """The score of the likelier class of each face, float32 (n,)."""
        return np.asarray(self.scores.max(axis=1, initial=0), dtype=np.float32)


@dataclass(frozen=True)
class Photo:
    """A photo of a data set, ready to be judged.

    Attributes:
        image: its picture, relative to the set's folder.
        split: train, val or test.
        look: its labels and what was seen in it.
        predicted: what a detector says that has not learnt from it.
        fold: number of its fold; near-copies are in the same one.
        source: its name in the ledger.
        by_folder: whether its labels' classes come from its folder's name.
        ignored: boxes that are painted over, xyxy pixels float32 (n, 4).
    """

    image: str
    split: str
    look: Look
    predicted: Predicted
    fold: int = 0
    source: str = ""
    by_folder: bool = False
    ignored: Boxes = field(default_factory=lambda: as_boxes([]))

    @property
    def labels(self) -> Labels:
        """Its labels."""
        return self.look.labels


def write_predictions(path: Path, predictions: Mapping[str, Predicted]) -> None:
    """Write predictions as lines of JSON, as `maskyolo detect --save-json` does, with the scores of both classes besides.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = []
    for source, found in predictions.items():
        detections = [
            {
                "box": [round(float(value), 2) for value in box],
                "class": CLASS_NAMES[int(scores.argmax())],
                "class_id": int(scores.argmax()),
                "confidence": round(float(scores.max()), 5),
                "scores": [round(float(score), 5) for score in scores],
            }
            for box, scores in zip(found.boxes, found.scores, strict=True)
        ]
        lines.append(
            json.dumps({"source": source, "detections": detections}, ensure_ascii=False) + "\n"
        )
    write_atomic(path, "".join(lines))


def read_predictions(path: Path) -> dict[str, Predicted]:
    """Read the predictions of each source from lines of JSON, those of `maskyolo detect --save-json` included.

    Where a line has no scores of both classes, the other class counts as not seen. Lines with an error, of pictures that could not be
    read, are passed over.

    Raises:
        DatasetError: no such file, or a line that holds no predictions.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"cannot read predictions {path}: {error}; give a file of `maskyolo detect --save-json`"
        ) from error
    predictions = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if "error" not in record:
                predictions[str(record["source"])] = _parse(record["detections"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DatasetError(
                f"{path}, line {number}: no predictions ({type(error).__name__}: {error}); give a file of `maskyolo detect --save-json`"
            ) from error
    return predictions


def _parse(detections: list[dict[str, Any]]) -> Predicted:
    scores = np.zeros((len(detections), len(CLASS_NAMES)), np.float32)
    for row, detection in zip(scores, detections, strict=True):
        if "scores" in detection:
            row[:] = detection["scores"]
        else:
            row[CLASS_NAMES.index(detection["class"])] = detection["confidence"]
    return Predicted(as_boxes([detection["box"] for detection in detections]), scores)
