"""The ledger: one row for every source photo that says what became of it and why."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from maskyolo.errors import DatasetError
from maskyolo.images import write_atomic

__all__ = ["STATUSES", "LedgerRow", "format_ledger", "read_ledger", "write_ledger"]

#: What can become of a photo; only `kept` ones are in the data set.
STATUSES = ("kept", "no_face", "duplicate", "ambiguous", "unreadable")


@dataclass(frozen=True)
class LedgerRow:
    """What became of one source photo.

    Attributes:
        source: its path relative to the converted folder, with forward slashes.
        class_name: the class its folder stands for (column `class` in the file).
        status: one of `STATUSES`.
        reason: why, in words; empty for a plain case.
        image: its picture in the data set, relative to the set's folder; empty unless kept.
        split: train, val or test; empty unless kept.
        width, height: of the upright picture, in pixels.
        sha256: of the source file; empty if it could not be read.
        phash: 64-bit perceptual hash as 16 hex digits (imagehash's `phash`).
        group: number shared by all near-copies; a group is never split. -1 if unreadable.
        detector: which face detector made the boxes.
        boxes: xyxy pixels of the faces in the upright picture; also of photos that were not kept.
        scores: their confidences, in the same order.
        classes: the class of each box, in the same order.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values, the class under its column's name."""
        return {("class" if name == "class_name" else name): value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LedgerRow:
        """Build a row from what `to_dict` returned, or from the strings of a CSV line."""
        row: dict[str, Any] = {("class_name" if name == "class" else name): value for name, value in values.items()}
        for name in ("width", "height", "group"):
            row[name] = int(row[name])
        for name in ("boxes", "scores", "classes"):
            row[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
        row["boxes"] = tuple(tuple(float(value) for value in box) for box in row["boxes"])
        row["scores"] = tuple(float(value) for value in row["scores"])
        row["classes"] = tuple(row["classes"])
        return cls(**row)


_COLUMNS = ["class" if field.name == "class_name" else field.name for field in fields(LedgerRow)]


def format_ledger(rows: list[LedgerRow]) -> str:
    """Return the text of a `ledger.csv`: a header and one line per row; boxes, scores and classes are JSON lists."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = row.to_dict()
        writer.writerow({**values, **{name: json.dumps(values[name]) for name in ("boxes", "scores", "classes")}})
    return text.getvalue()


def write_ledger(path: Path | str, rows: list[LedgerRow]) -> None:
    """Write a `ledger.csv`. Raises OutputError."""
    write_atomic(path, format_ledger(rows))


def read_ledger(path: Path | str) -> list[LedgerRow]:
    """Read a `ledger.csv`.

    Raises:
        DatasetError: no such file, columns missing, or a value that does not parse; the line is in the message.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read ledger {path}: {error}; check the file") from error
    lines = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in _COLUMNS if name not in (lines.fieldnames or [])]
    if missing:
        raise DatasetError(f"{path} is not a ledger: it lacks the columns {', '.join(missing)}")
    rows: list[LedgerRow] = []
    try:
        rows.extend(LedgerRow.from_dict({name: line[name] for name in _COLUMNS}) for line in lines)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}, line {lines.line_num}: {error}; correct the line") from error
    return rows
