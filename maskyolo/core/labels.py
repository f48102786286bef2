"""YOLO label files: one line per box, `class cx cy w h`, as fractions of the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, clip_boxes, to_normalized
from maskyolo.core.classes import plain_name
from maskyolo.core.label_rows import LabelRows, parse_rows
from maskyolo.core.parsing import read_text
from maskyolo.errors import DatasetError

__all__ = [
    "IGNORE",
    "IGNORE_CLASS",
    "Labels",
    "check_rows",
    "format_yolo",
    "parse_yolo",
    "read_yolo",
]

#: Class name and class id of boxes to exclude from training: `convert` blanks them out and writes
#: no label for them. The name is used in class maps and in the ledger.
IGNORE_CLASS = "ignore"
IGNORE = -1


@dataclass(frozen=True)
class Labels:
    """The labeled boxes of one image.

    Attributes:
        boxes: xyxy pixels, float32 (n, 4).
        class_ids: int64 (n,), 0 = with_mask, 1 = without_mask; `IGNORE` for blanked-out boxes.
    """

    boxes: Boxes
    class_ids: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.boxes) != len(self.class_ids):
            raise ValueError(
                f"boxes and class_ids differ in length: {len(self.boxes)} and {len(self.class_ids)}"
            )

    def __len__(self) -> int:
        return len(self.boxes)


def format_yolo(labels: Labels, width: int, height: int) -> str:
    """Return the text of a label file for an image of `width` x `height`.

    Boxes are clipped to the image; the text is empty if there are no boxes.
    """
    rows = to_normalized(clip_boxes(labels.boxes, width, height), width, height)
    return "".join(
        f"{class_id} {' '.join(f'{value:.6f}' for value in row)}\n"
        for class_id, row in zip(labels.class_ids, rows, strict=True)
    )


def parse_yolo(
    text: str, width: int, height: int, name: str = "labels", classes: int = 2
) -> Labels:
    """Parse the text of a label file of an image of `width` x `height`.

    Args:
        text: the lines of the file; see `parse_rows` for what they may be.
        width: width of the image in pixels.
        height: height of the image in pixels.
        name: the file, for error messages.
        classes: number of classes.

    Raises:
        DatasetError: an invalid row, an unknown class, or a box without area; the message
            includes `name` and the line number.
    """
    return check_rows(parse_rows(text, name), width, height, name, [""] * classes)


def check_rows(rows: LabelRows, width: int, height: int, name: str, names: Sequence[str]) -> Labels:
    """Return the boxes of a label file in pixels; see `parse_yolo`.

    Args:
        rows: the rows of the file.
        width: width of the image in pixels.
        height: height of the image in pixels.
        name: the file, for error messages.
        names: class names by id, for rows with names.
    """
    class_ids = []
    for class_id, box, line in zip(rows.classes, rows.boxes.tolist(), rows.lines, strict=True):
        where = f"{name}, line {line}"
        if isinstance(class_id, str):
            class_id = _id_of(class_id, names)
        if class_id not in range(len(names)):
            last = len(names) - 1
            raise DatasetError(
                f"{where}: class {class_id} is not one of 0 to {last}", "correct the line"
            )
        x1, y1, x2, y2 = box
        if not np.isfinite(box).all():
            raise DatasetError(f"{where}: a box that is not finite", "correct the line")
        if not (x1 < x2 and y1 < y2):
            raise DatasetError(
                f"{where}: a box without width or height ({x2 - x1:g} x {y2 - y1:g})",
                "remove the line",
            )
        class_ids.append(int(class_id))
    boxes = rows.boxes * [width, height, width, height]
    return Labels(as_boxes(boxes), np.asarray(class_ids, dtype=np.int64))


def _id_of(name: str, names: Sequence[str]) -> int | str:
    """Return the id of a class given by its name, or the name itself if it is unknown."""
    plain = [plain_name(known) for known in names]
    return plain.index(plain_name(name)) if plain_name(name) in plain else name


def read_yolo(path: Path | str, width: int, height: int, classes: int = 2) -> Labels:
    """Read a label file; as with Ultralytics, a missing file means an image without boxes.

    Raises:
        DatasetError: as for `parse_yolo`, or the file cannot be read.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except FileNotFoundError:
        text = ""
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read labels {path}: {error}", "check the file") from error
    return parse_yolo(text, width, height, name=str(path), classes=classes)
