"""A data set's likely errors, `review.csv`: `review find` writes it, people fill in its last columns, `review apply` reads them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskyolo.core.files import write_atomic
from maskyolo.errors import DatasetError

__all__ = [
    "REASONS",
    "REVIEW_CSV",
    "TAGS",
    "Suspicion",
    "format_suspicions",
    "read_suspicions",
    "write_suspicions",
]

#: Name of the file in the data set's folder.
REVIEW_CSV = "review.csv"

#: Why a photo or one of its boxes is suspicious, and what that means.
REASONS = {
    "wrong_class": "the class is likely the other one",
    "bad_box": "the box lies badly on the face",
    "missing": "a face has no box",
    "spurious": "a box without a face",
    "duplicate": "the same photo as another, or the same face twice",
    "second_detector": "another face detector sees it otherwise",
    "folder_class": "the folder's class is not what the classifier sees",
    "unusual": "unlike all other photos",
}

#: What a person can say of a photo, a box or a suspicion, and what `review apply` makes of it.
TAGS = {
    "wrong_class": "the class is wrong: it becomes the one suggested, or the other one of two",
    "bad_box": "the box is wrong: it becomes the one suggested",
    "missing": "a face has no box: the one suggested becomes its box",
    "delete": "the box, or the whole photo, is taken out",
    "ok": "checked, and right as it is",
    "confuser": "something else than a mask covers the face: it is without_mask",
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
    """A likely error, and what a person says of it. Boxes are xyxy pixels of the picture in the set; an empty one means there is none.

    Attributes:
        rank: place of its photo in the list, from 1; one number for all suspicions of a photo.
        image: the picture, relative to the set's folder, with forward slashes.
        split: train, val or test.
        reason: one of `REASONS`.
        score: how likely it is an error, 0 to 1.
        label: line of the box in the photo's label file, from 0; None if it is of no box, such as a missing face.
        box: the box itself.
        suggested_class: the class it should have; empty for none.
        suggested_box: the box it should have.
        source: the photo's name in the ledger.
        tags: some of `TAGS`, as a person wrote them.
        new_class: the class that a person gives it.
        new_box: the box that a person gives it.
        line: its line in the file, for messages; 0 if it is from no file.
    """

    rank: int
    image: str
    split: str
    reason: str
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


def format_suspicions(suspicions: Sequence[Suspicion]) -> str:
    """Return the text of a `review.csv`: a header and one line for each suspicion."""
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
                found.reason,
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
    """Write a `review.csv`. Raises OutputError."""
    write_atomic(path, format_suspicions(suspicions))


def read_suspicions(path: Path | str) -> list[Suspicion]:
    """Read a `review.csv`, as it was written or as a spreadsheet saved it: with a byte order mark, and commas or semicolons.

    Raises:
        DatasetError: no such file, columns missing, or a value that does not parse; the line is in the message. Tags are not
            judged here.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"cannot read {path}: {error}; make it with `maskyolo review find`, and save it as UTF-8 text"
        ) from error
    header = text.partition("\n")[0]
    lines = csv.DictReader(
        io.StringIO(text, newline=""),
        delimiter=";" if header.count(";") > header.count(",") else ",",
    )
    suspicions: list[Suspicion] = []
    try:
        missing = [name for name in _COLUMNS if name not in (lines.fieldnames or [])]
        if missing:
            raise DatasetError(
                f"{path} is no list of suspicions: it lacks the columns {', '.join(missing)}"
            )
        suspicions.extend(
            _parse({name: (line[name] or "").strip() for name in _COLUMNS}, lines.reader.line_num)
            for line in lines
        )
    except (TypeError, ValueError, OverflowError, csv.Error) as error:
        raise DatasetError(
            f"{path}, line {lines.reader.line_num}: {error}; correct the line"
        ) from error
    return suspicions


def _parse(line: dict[str, str], number: int) -> Suspicion:
    suggestion = json.loads(line["suggestion"] or "{}")
    if not isinstance(suggestion, dict):
        raise TypeError(f'a suggestion is {{"class": …, "box": …}}, found {line["suggestion"]}')
    return Suspicion(
        rank=int(line["rank"] or 0),
        image=line["image"].replace("\\", "/"),
        split=line["split"],
        reason=line["reason"],
        score=float((line["score"] or "0").replace(",", ".")),
        label=int(float(line["label"])) if line["label"] else None,
        box=_box(json.loads(line["box"] or "[]")),
        suggested_class=str(suggestion.get("class") or ""),
        suggested_box=_box(suggestion.get("box") or []),
        source=line["source"],
        tags=tuple(line["tags"].replace(",", " ").replace(";", " ").split()),
        new_class=line["new_class"],
        new_box=_box(json.loads(line["new_box"] or "[]")),
        line=number,
    )


def _box(values: Sequence[float]) -> Box:
    box = tuple(float(value) for value in values)
    if len(box) not in (0, 4):
        raise ValueError(f"a box has four numbers [x1, y1, x2, y2], found {list(values)}")
    return box


def _rounded(box: Box) -> list[float]:
    return [round(value, 2) for value in box]
