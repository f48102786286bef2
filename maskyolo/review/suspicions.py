"""The list of a data set's likely errors, `review.csv`.

`review find` writes it, people fill in its last three columns, and `review apply` reads them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
from maskyolo.core.options import Choice
from maskyolo.core.parsing import parse_json, read_table

__all__ = [
    "REASONS",
    "REVIEW_CSV",
    "TAGS",
    "Box",
    "Reason",
    "Suspicion",
    "Tag",
    "format_suspicions",
    "read_suspicions",
    "write_suspicions",
]

#: Name of the file in the data set's folder.
REVIEW_CSV = "review.csv"


class Reason(Choice):
    """Why a photo or one of its boxes is suspicious; `REASONS` describes each."""

    WRONG_CLASS = "wrong_class"
    BAD_BOX = "bad_box"
    MISSING = "missing"
    SPURIOUS = "spurious"
    DUPLICATE = "duplicate"
    SECOND_DETECTOR = "second_detector"
    FOLDER_CLASS = "folder_class"
    UNUSUAL = "unusual"


#: What each reason means, in the order in which they are shown.
REASONS = {
    Reason.WRONG_CLASS: "the class is probably the other one",
    Reason.BAD_BOX: "the box does not fit the face",
    Reason.MISSING: "a face has no box",
    Reason.SPURIOUS: "a box without a face",
    Reason.DUPLICATE: "the same photo as another, or the same face twice",
    Reason.SECOND_DETECTOR: "a face that only the second face detector finds",
    Reason.FOLDER_CLASS: "the folder's class is not what the classifier predicts",
    Reason.UNUSUAL: "unlike all other photos",
}


class Tag(Choice):
    """What a person can say about a photo, a box or a suspicion; `TAGS` describes each."""

    WRONG_CLASS = "wrong_class"
    BAD_BOX = "bad_box"
    MISSING = "missing"
    DELETE = "delete"
    OK = "ok"
    OCCLUDER = "occluder"


#: What `review apply` does about each tag.
TAGS = {
    Tag.WRONG_CLASS: "the class is wrong: it becomes the suggested one, or the other one of two",
    Tag.BAD_BOX: "the box is wrong: it becomes the suggested one",
    Tag.MISSING: "a face has no box: the suggested box is added",
    Tag.DELETE: "the box, or the whole photo, is removed",
    Tag.OK: "checked, and correct as it is",
    Tag.OCCLUDER: "the face is covered by something other than a mask: it is without_mask",
}

_COLUMNS = (
    "rank",
    "image",
    "split",
    "label",
    "box",
    "reason",
    "score",
    "suggestion",
    "source",
    "tags",
    "new_class",
    "new_box",
)

Box = tuple[float, ...]


@dataclass(frozen=True)
class Suspicion:
    """A likely error, and what a person says about it.

    Boxes are xyxy, in pixels of the image in the data set; an empty box means that there is none.

    Attributes:
        rank: place of its photo in the list, from 1; all suspicions of a photo have the same rank.
        image: the image file, relative to the set's folder, with forward slashes.
        split: train, val or test.
        reason: why it is suspicious; None if the file has an unknown reason, which is ignored.
        score: how likely it is an error, 0 to 1.
        label: line of the box in the photo's label file, from 0; None if it is not about such a
            box, for example for a missing face.
        box: the suspicious box.
        suggested_class: the class it should have; empty for none.
        suggested_box: the box it should have.
        source: the photo's name in the ledger.
        tags: the tags that a person entered, which should be among `TAGS`.
        new_class: the class that a person gives it.
        new_box: the box that a person gives it.
        line: its line in the file, for messages; 0 if it does not come from a file.
    """

    rank: int
    image: str
    split: str
    reason: Reason | None
    score: float
    label: int | None = None
    box: Box = ()
    suggested_class: str = ""
    suggested_box: Box = ()
    source: str = ""
    tags: tuple[str, ...] = ()
    new_class: str = ""
    new_box: Box = ()
    line: int = 0

    @property
    def is_filled_in(self) -> bool:
        """Whether a person wrote something into the line."""
        return bool(self.tags or self.new_class or self.new_box)


def format_suspicions(suspicions: Sequence[Suspicion]) -> str:
    """Return the text of a `review.csv`: a header and one line per suspicion."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for found in suspicions:
        suggestion: dict[str, Any] = {}
        if found.suggested_class:
            suggestion["class"] = found.suggested_class
        if found.suggested_box:
            suggestion["box"] = _rounded(found.suggested_box)
        writer.writerow(
            [
                found.rank,
                found.image,
                found.split,
                "" if found.label is None else found.label,
                json.dumps(_rounded(found.box)) if found.box else "",
                found.reason or "",
                round(found.score, 4),
                json.dumps(suggestion) if suggestion else "",
                found.source,
                " ".join(found.tags),
                found.new_class,
                json.dumps(_rounded(found.new_box)) if found.new_box else "",
            ]
        )
    return text.getvalue()


def write_suspicions(path: Path | str, suspicions: Sequence[Suspicion]) -> None:
    """Write a `review.csv`.

    Raises:
        OutputError: the file cannot be written.
    """
    write_atomic(path, format_suspicions(suspicions))


def read_suspicions(path: Path | str) -> list[Suspicion]:
    """Read a `review.csv`, whether written by maskyolo or saved by a spreadsheet.

    Spreadsheets may add a byte order mark and separate columns by semicolons.

    Raises:
        DatasetError: there is no such file, columns are missing, or a value does not parse (the
            message names the line). Tags are not checked here.
    """
    remedy = "correct the line, or create it again with `maskyolo review find`"
    return read_table(path, _COLUMNS, _parse, remedy=remedy)


def _parse(values: dict[str, str], number: int) -> Suspicion:
    line = {name: value.strip() for name, value in values.items()}
    suggestion = parse_json(line["suggestion"] or "{}")
    if not isinstance(suggestion, dict):
        raise TypeError(
            f'a suggestion must be {{"class": …, "box": …}}, found {line["suggestion"]}'
        )
    return Suspicion(
        rank=int(line["rank"] or 0),
        image=line["image"].replace("\\", "/"),
        split=line["split"],
        reason=_reason(line["reason"]),
        score=float((line["score"] or "0").replace(",", ".")),
        label=int(float(line["label"])) if line["label"] else None,
        box=_box(parse_json(line["box"] or "[]")),
        suggested_class=str(suggestion.get("class") or ""),
        suggested_box=_box(suggestion.get("box") or []),
        source=line["source"],
        tags=tuple(line["tags"].replace(",", " ").replace(";", " ").split()),
        new_class=line["new_class"],
        new_box=_box(parse_json(line["new_box"] or "[]")),
        line=number,
    )


def _reason(text: str) -> Reason | None:
    try:
        return Reason(text)
    except ValueError:  # a person who adds a line may enter any reason, or none
        return None


def _box(values: Sequence[float]) -> Box:
    box = tuple(float(value) for value in values)
    if len(box) not in (0, 4):
        raise ValueError(f"a box must have four numbers [x1, y1, x2, y2], found {list(values)}")
    return box


def _rounded(box: Box) -> list[float]:
    return [round(value, 2) for value in box]
