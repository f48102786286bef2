"""The ledger: one row per source photo that records what became of it, and why."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskyolo.core.boxes import as_boxes, box_area
from maskyolo.core.classes import CLASS_NAMES
from maskyolo.core.files import write_atomic
from maskyolo.core.labels import IGNORE_CLASS, Labels
from maskyolo.core.parsing import parse_json, read_table

__all__ = [
    "LEDGER_SIZES",
    "STATUSES",
    "LedgerRow",
    "format_ledger",
    "labels_of",
    "read_ledger",
    "size_class",
    "write_ledger",
]

#: Possible statuses of a photo; only `kept` and `corrected` photos are in the data set.
STATUSES = (
    "kept",
    "corrected",
    "no_face",
    "ambiguous",
    "duplicate",
    "original",
    "excluded",
    "unreadable",
)
#: Size classes of faces, and the minimum side of each in pixels of an image scaled to a longer side
#: of 640. The limits are COCO's, applied at the size that the detector sees.
LEDGER_SIZES = {"small": 0.0, "medium": 32.0, "large": 96.0}
_JSON_COLUMNS = ("boxes", "scores", "classes", "origins", "deciders", "agreed")


def size_class(boxes: npt.ArrayLike, width: int, height: int) -> str:
    """Return the size class of the largest of xyxy boxes (n, 4), or an empty string if n = 0.

    The side of a face is the square root of its box's area, in an image of `width` x `height`.

    >>> size_class([[0, 0, 50, 50]], 640, 480), size_class([[0, 0, 50, 50]], 100, 100)
    ('medium', 'large')
    """
    sides = np.sqrt(box_area(boxes)) * 640 / max(width, height, 1)
    return (
        next(name for name in reversed(LEDGER_SIZES) if sides.max() >= LEDGER_SIZES[name])
        if len(sides)
        else ""
    )


@dataclass(frozen=True)
class LedgerRow:
    """What became of one source photo. All lists about its boxes are in the same order.

    Attributes:
        source: its path relative to the converted folder, with forward slashes.
        class_name: the class its folder stands for (column `class` in the file).
        status: one of `STATUSES`.
        reason: why, in words; empty if the status says it all.
        image: its image in the data set, relative to the set's folder; empty if not in the set.
        split: train, val or test; empty if not in the set.
        width: width of the upright image in pixels.
        height: height of the upright image in pixels.
        sha256: checksum of the source file; empty if it could not be read.
        phash: 64-bit perceptual hash as 16 hex digits (imagehash's `phash`).
        group: number shared by all near-copies of a photo; a group is never divided between
            splits. -1 if not hashed.
        detector: the face detector; `given` if the source has boxes.
        boxes: xyxy pixels of the faces in the upright image; photos not in the set have them, too.
        scores: the confidence of each box.
        classes: the class of each box; `ignore` for a face that is blanked out in the set's image.
        origins: where each box comes from: the name of a face detector, `given`, or `human`.
        deciders: what decided each class: `folder`, `given`, `human`, the name of a mask detector,
            or `nobody`.
        agreed: for each box, whether the cross-check found the face too; empty without one.
        size: size class of the largest face, one of `LEDGER_SIZES`; empty if there is none.
        phash_mirrored: perceptual hash of the mirrored image.
    """

    source: str
    class_name: str
    status: str
    reason: str = ""
    image: str = ""
    split: str = ""
    width: int = 0
    height: int = 0
    sha256: str = ""
    phash: str = ""
    group: int = -1
    detector: str = ""
    boxes: tuple[tuple[float, ...], ...] = ()
    scores: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    deciders: tuple[str, ...] = ()
    agreed: tuple[bool, ...] = ()
    size: str = ""
    phash_mirrored: str = ""

    @property
    def in_set(self) -> bool:
        """Whether the photo is in the data set."""
        return bool(self.image)

    def corrected(
        self, boxes: npt.ArrayLike, classes: Sequence[str], reason: str = ""
    ) -> LedgerRow:
        """Return the row as manually corrected, with boxes (n, 4) in pixels and classes (n).

        A box that was there before (within half a pixel) keeps its score and origin, and if its
        class is the same, also that class's decider; everything else becomes `human`.
        `convert --update` keeps the boxes, classes, image and split of such a row. The caller must
        write the same boxes to the label file; if the two differ, the label file takes precedence.
        """
        scores, origins, deciders, agreed = [], [], [], []
        old = as_boxes(self.boxes)
        for box, name in zip(as_boxes(boxes), classes, strict=True):
            same = np.flatnonzero(np.abs(old - box).max(axis=1) < 0.5)
            place = int(same[0]) if len(same) else None
            scores.append(1.0 if place is None else self.scores[place])
            origins.append("human" if place is None else self.origins[place])
            deciders.append(
                "human" if place is None or self.classes[place] != name else self.deciders[place]
            )
            agreed.append(True if place is None else self.agreed[place] if self.agreed else True)
        return replace(
            self,
            status="corrected",
            reason=reason,
            boxes=_plain_boxes(boxes),
            scores=tuple(scores),
            classes=tuple(classes),
            origins=tuple(origins),
            deciders=tuple(deciders),
            agreed=tuple(agreed) if self.agreed else (),
            size=size_class(boxes, self.width, self.height),
        )

    def removed(self, reason: str = "taken out by hand") -> LedgerRow:
        """Return the row of a photo that was manually removed from the set: without an image."""
        return replace(self, status="corrected", reason=reason, image="", split="")

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values by column name."""
        return {
            ("class" if name == "class_name" else name): value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LedgerRow:
        """Build a row from what `to_dict` returned, or from the strings of a CSV line."""
        row: dict[str, Any] = {
            ("class_name" if name == "class" else name): value for name, value in values.items()
        }
        for name in ("width", "height", "group"):
            row[name] = int(row[name])
        for name in _JSON_COLUMNS:
            row[name] = tuple(parse_json(row[name]) if isinstance(row[name], str) else row[name])
        row["boxes"] = tuple(tuple(float(value) for value in box) for box in row["boxes"])
        row["scores"] = tuple(float(value) for value in row["scores"])
        return cls(**row)


_COLUMNS = ["class" if field.name == "class_name" else field.name for field in fields(LedgerRow)]


def _plain_boxes(boxes: npt.ArrayLike) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), 2) for value in box) for box in as_boxes(boxes))


def format_ledger(rows: Sequence[LedgerRow]) -> str:
    """Return the text of a `ledger.csv`: a header and one line per row, with lists as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = row.to_dict()
        writer.writerow({**values, **{name: json.dumps(values[name]) for name in _JSON_COLUMNS}})
    return text.getvalue()


def write_ledger(path: Path | str, rows: Sequence[LedgerRow]) -> None:
    """Write a `ledger.csv`.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomic(path, format_ledger(rows))


def read_ledger(path: Path | str) -> list[LedgerRow]:
    """Read a `ledger.csv`.

    Raises:
        DatasetError: no such file, missing columns, or an invalid value; the message includes the
            line number.
    """
    return read_table(path, _COLUMNS, lambda values, _: LedgerRow.from_dict(values))


def labels_of(row: LedgerRow, names: Sequence[str] = CLASS_NAMES) -> Labels:
    """Return what a row's label file contains: all boxes except those that are blanked out.

    Args:
        row: a row of the ledger.
        names: the names of the classes, by id.
    """
    learned = [place for place, name in enumerate(row.classes) if name != IGNORE_CLASS]
    class_ids = np.array([names.index(row.classes[place]) for place in learned], dtype=np.int64)
    return Labels(as_boxes([row.boxes[place] for place in learned]), class_ids)
