"""YOLO label files: one line per box, `class cx cy w h`, as fractions of the image's size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import Boxes, as_boxes, clip_boxes, from_normalized, to_normalized
from maskyolo.errors import DatasetError

__all__ = ["IGNORE", "IGNORE_CLASS", "Labels", "format_yolo", "parse_yolo", "read_yolo"]

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
        text: the lines of the file.
        width: width of the image in pixels.
        height: height of the image in pixels.
        name: the file, for error messages.
        classes: number of classes.

    Raises:
        DatasetError: a line without five numbers, an unknown class, or a box without area; the
            message includes `name` and the line number.
    """
    class_ids, rows = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where, found = f"{name}, line {number}", line.strip()[:60]
        try:
            class_id, *xywh = (float(value) for value in line.split())
        except ValueError:
            raise DatasetError(
                f"{where}: expected 'class cx cy w h', found '{found}'", "correct the line"
            ) from None
        if len(xywh) != 4 or not np.isfinite([class_id, *xywh]).all():
            raise DatasetError(
                f"{where}: expected five numbers, found '{found}'", "correct the line"
            )
        if class_id not in range(classes):
            raise DatasetError(
                f"{where}: class {class_id:g} is not one of 0 to {classes - 1}", "correct the line"
            )
        if min(xywh[2:]) <= 0:
            raise DatasetError(
                f"{where}: a box without width or height ({xywh[2]:g} x {xywh[3]:g})",
                "remove the line",
            )
        class_ids.append(int(class_id))
        rows.append(xywh)
    return Labels(
        as_boxes(from_normalized(rows, width, height)), np.asarray(class_ids, dtype=np.int64)
    )


def read_yolo(path: Path | str, width: int, height: int, classes: int = 2) -> Labels:
    """Read a label file; as with Ultralytics, a missing file means an image without boxes.

    Raises:
        DatasetError: as for `parse_yolo`, or the file cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read labels {path}: {error}", "check the file") from error
    return parse_yolo(text, width, height, name=str(path), classes=classes)
